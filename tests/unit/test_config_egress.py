"""[[egress]]: which hosts can be written, in one form each, and that no rule is accepted that could not be kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead import grammar
from bulkhead.config import load_profile
from bulkhead.egress.allowlist import Allowlist
from bulkhead.errors import ProfileError
from bulkhead.spec import EgressRule
from tests.unit.config_cases import write

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("home")

# host, the other keys, the key that is refused and why. Every host is one of which private = true was said.
REFUSED = {
    "a bare star": ("*", "", "host", "bare '*'"),
    "every host of a domain": ("*.com", "", "host", "whole top-level domain"),
    "a star inside": ("a.*.test", "", "host", "lower case"),
    "a star in a label": ("a*.b.test", "", "host", "lower case"),
    "two stars": ("*.*.b.test", "", "host", "lower case"),
    "a star before an address": ("*.10.0.0.1", "", "host", "lower case"),
    "another script": ("\\u0430pple.test", "", "host", "write 'xn--pple-43d.test'"),
    "a wildcard in another script": ("*.b\\u00fccher.test", "", "host", "write '*.xn--bcher-kva.test'"),
    "a wide letter": ("\\uff41pi.test", "", "host", "write 'api.test'"),
    "a full stop of another script": ("a\\u3002test", "", "host", "write 'a.test'"),
    "what no script has": ("\\u2028.test", "", "host", "none in another script"),
    "an A-label of nothing": ("xn--a.test", "", "host", "xn-- must be"),
    "an A-label of ASCII": ("xn--abc-.test", "", "host", "lower case"),
    "an A-label of capitals": ("xn--bcher-2pa.test", "", "host", "xn-- must be"),
    "an A-label with a full stop": ("xn--ab-r13a.test", "", "host", "xn-- must be"),
    "upper case": ("API.test", "", "host", "lower case"),
    "an underscore": ("_x.test", "", "host", "lower case"),
    "a percent sign": ("a%2e.test", "", "host", "lower case"),
    "a port": ("a.test:1", "", "host", "no scheme, port"),
    "a path": ("a.test/x", "", "host", "no scheme, port, path"),
    "a label of 64": (f"{'a' * 64}.test", "", "host", "lower case"),
    "a name of 254": (f"{'a.' * 125}test", "", "host", "lower case"),
    "brackets": ("[fd00::1]", "", "host", "lower case"),
    "an octal address": ("010.0.0.1", "", "host", "no address"),
    "an address of 256": ("10.0.0.256", "", "host", "no address"),
    "a CIDR from its middle": ("10.1.2.3/8", "", "host", "behind the prefix"),
    "a prefix of 33": ("10.0.0.0/33", "", "host", "no address"),
    "a netmask": ("10.0.0.0/255.0.0.0", "", "host", "lower case"),
    "half of all": ("0.0.0.0/1", "", "host", "too large"),
    "all of IPv6": ("::/0", "", "host", "too large"),
    "the metadata address": ("169.254.169.254", "", "host", "metadata"),
    "the metadata address of IPv6": ("fd00:ec2::254", "", "host", "metadata"),
    "link-local": ("fe80::/10", "", "host", "link-local"),
    "multicast": ("224.0.0.1", "", "host", "multicast"),
    "unspecified": ("0.0.0.0", "", "host", "unspecified"),  # noqa: S104
    "a mapped address": ("::ffff:10.0.0.1", "", "host", "embedded"),
    "addresses that stand for names": ("198.18.0.0/16", "", "host", "benchmark"),
    "TLS to an address": ("10.0.0.1", "tls = true", "tls", "names no address"),
    "tls that is no boolean": ("a.test", 'tls = "no"', "tls", "true or false"),
    "the resolver's port": ("a.test", "ports = [53]", "ports", "resolver"),
    "a port beyond": ("a.test", "ports = [65536]", "ports[0]", "65535"),
    "too many ports": ("a.test", f"ports = {list(range(100, 201))}", "ports", "more than 100"),
}


def table(host: str, more: str = "") -> str:
    ports = "" if "ports" in more else "ports = [80, 443]\n"
    return f'[[egress]]\nhost = "{host}"\nprivate = true\n{ports}{more}\n'


def refusal(path: Path) -> ProfileError:
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    return caught.value


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, tmp_path: Path) -> None:
    host, more, key, why = REFUSED[case]
    error = refusal(write(tmp_path, table(host, more)))
    assert f"egress[0].{key} is not valid" in error.what
    assert why in error.why


@pytest.mark.parametrize("host", ["10.0.0.0/8", "203.0.113.7", "fd00::1", "localhost"])
def test_an_address_and_a_name_without_a_dot_need_private(host: str, tmp_path: Path) -> None:
    error = refusal(write(tmp_path, table(host).replace("private = true\n", "")))
    assert "needs private = true" in error.why


@pytest.mark.parametrize(
    ("host", "kept"),
    [
        ("a.test", "a.test"),
        ("*.a.test", "*.a.test"),
        ("xn--bcher-kva.test", "xn--bcher-kva.test"),
        ("r3---sn.test", "r3---sn.test"),
        ("localhost", "localhost"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.1/32", "10.0.0.1"),
        ("fd00:0::/8", "fd00::/8"),
        ("203.0.113.7", "203.0.113.7"),
        ("127.0.0.1", "127.0.0.1"),
    ],
)
def test_a_host_is_kept_as_it_is_written_shortest(host: str, kept: str, tmp_path: Path) -> None:
    (rule,) = load_profile(write(tmp_path, table(host, "tls = false"))).egress
    assert rule == EgressRule(kept, (80, 443), private=True, tls=False)


def test_whether_tls_is_spoken_is_left_to_the_port(tmp_path: Path) -> None:
    assert load_profile(write(tmp_path, table("a.test"))).egress[0].tls is None


def test_the_same_address_in_two_words_is_there_twice(tmp_path: Path) -> None:
    assert "already" in refusal(write(tmp_path, table("10.0.0.1") + table("10.0.0.1/32"))).why


def test_all_rules_together_have_at_most_100_ports(tmp_path: Path) -> None:
    half = list(range(1000, 1050))
    tables = table("a.test", f"ports = {half}") + table("b.test", f"ports = {list(range(2000, 2050))}")
    assert load_profile(write(tmp_path, tables + table("c.test", f"ports = {half}"))).egress
    assert "more than 100" in refusal(write(tmp_path, tables + table("c.test", "ports = [3000]"))).why


@given(st.text("ab.*:/%-xn08fé\u3002", max_size=24) | st.text(max_size=24))
def test_every_host_is_refused_or_a_rule_that_the_allowlist_knows(text: str) -> None:
    try:
        host = grammar.host(text)
    except ValueError:
        return
    listed = Allowlist((EgressRule(host, (443,), private=True),))
    meant = host.replace("*.", "x.", 1)
    assert grammar.host(host) == host
    assert listed.knows(meant) or listed.rule_for_address(host.partition("/")[0], 443)
