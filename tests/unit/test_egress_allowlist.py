"""allowlist.py: what a rule means, and the names that look like another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead import grammar
from bulkhead.egress.allowlist import Allowlist, host_name, protocol
from bulkhead.spec import EgressRule

API = EgressRule("api.example.com", (443, 8080))
BELOW = EgressRule("*.example.com", (80, 443))
DEEPER = EgressRule("*.eu.example.com", (443,))
LOCAL = EgressRule("localhost", (5432,), private=True)
NETWORK = EgressRule("10.0.0.0/8", (443, 5432), private=True)
HOST = EgressRule("10.0.0.5", (443,), private=True)
ULA = EgressRule("fd00::/8", (443,), private=True)
LIST = Allowlist((API, BELOW, DEEPER, LOCAL, NETWORK, HOST, ULA))


@pytest.mark.parametrize(
    ("name", "port", "rule"),
    [
        ("api.example.com", 443, API),
        ("API.Example.COM", 443, API),
        ("api.example.com.", 443, API),
        ("api.example.com", 80, BELOW),
        ("api.example.com", 22, None),
        ("www.example.com", 443, BELOW),
        ("www.example.com", 8080, None),
        ("a.eu.example.com", 443, DEEPER),
        ("a.eu.example.com", 80, BELOW),
        ("eu.example.com", 443, BELOW),
        ("xn--bcher-kva.example.com", 443, BELOW),
        ("localhost", 5432, LOCAL),
        # the apex, and what only looks like a subdomain
        ("example.com", 443, None),
        ("evil-example.com", 443, None),
        ("api.example.com.evil.org", 443, None),
        ("evilapi.example.community", 443, None),
        ("*.example.com", 443, None),
        (".example.com", 443, None),
        ("a..example.com", 443, None),
        ("api.example.com..", 443, None),
        # what no host name is
        ("", 443, None),
        (".", 443, None),
        ("_dmarc.example.com", 443, None),
        ("-a.example.com", 443, None),
        ("a-.example.com", 443, None),
        ("a b.example.com", 443, None),
        ("a%2e.example.com", 443, None),
        ("user@api.example.com", 443, None),
        ("user:password@www.example.com", 443, None),
        ("evil.org#.example.com", 443, None),
        ("evil.org/.example.com", 443, None),
        ("evil.org\\.example.com", 443, None),
        ("evil.org\0.example.com", 443, None),
        ("evil.org\\000.example.com", 443, None),
        ("api.example.com\n", 443, None),
        ("\uff41pi.example.com", 443, None),
        ("api\u3002example.com", 443, None),
        ("\u0430pi.example.com", 443, None),
        ("\u212aubernetes.example.com", 443, None),
        (f"{'a' * 63}.example.com", 443, BELOW),
        (f"{'a' * 64}.example.com", 443, None),
        (f"{'a.' * 120}example.com", 443, BELOW),
        (f"{'a.' * 121}b.example.com", 443, None),
        # addresses are no names, in whichever notation
        ("10.0.0.5", 443, None),
        ("167772165", 443, None),
        ("0xa000005", 443, None),
        ("012.0.0.5", 443, None),
        ("10.0.5", 443, None),
        ("[::1]", 443, None),
        ("fd00::1", 443, None),
    ],
)
def test_the_rule_for_a_name(name: str, port: int, rule: EgressRule | None) -> None:
    assert LIST.rule_for(name, port) == rule


@pytest.mark.parametrize(
    ("address", "port", "rule"),
    [
        ("10.0.0.5", 443, HOST),
        ("10.0.0.5", 5432, NETWORK),
        ("10.255.255.255", 443, NETWORK),
        ("::ffff:10.1.2.3", 443, NETWORK),
        ("11.0.0.0", 443, None),
        ("10.0.0.5", 80, None),
        ("fd00::1", 443, ULA),
        ("fc00::1", 443, None),
        ("fd00::1%1", 443, None),
        ("::10.0.0.5", 443, None),
        ("010.0.0.5", 443, None),
        ("167772165", 443, None),
        ("localhost", 5432, None),
        ("", 443, None),
    ],
)
def test_the_rule_for_an_address(address: str, port: int, rule: EgressRule | None) -> None:
    assert LIST.rule_for_address(address, port) == rule


def test_dns_knows_a_name_whatever_its_port() -> None:
    assert [LIST.knows(name) for name in ("LOCALHOST.", "a.example.com", "example.com", "10.0.0.5", "")] == [
        True, True, False, False, False,
    ]  # fmt: skip


def test_the_ports_are_those_of_all_rules() -> None:
    assert LIST.ports == (80, 443, 5432, 8080)


def test_without_rules_nothing_is_allowed() -> None:
    empty = Allowlist(())
    assert (empty.ports, empty.knows("localhost"), empty.rule_for("localhost", 80)) == ((), False, None)
    assert empty.rule_for_address("10.0.0.5", 443) is None


@given(st.text(st.characters(codec="utf-8"), max_size=40) | st.text("abEX.-_*%\0@:/0189x\u212a\u3002", max_size=40))
def test_a_host_name_is_canonical_or_refused(text: str) -> None:
    try:
        name = host_name(text)
    except ValueError:
        return
    assert host_name(name) == name
    assert name == text.lower().removesuffix(".")
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")


@given(st.text("abex.-*", max_size=24))
def test_a_wildcard_allows_what_ends_in_its_domain_and_no_more(text: str) -> None:
    listed = Allowlist((EgressRule("*.ab.ex", (443,)),))
    below = text.removesuffix(".").endswith(".ab.ex") and bool(grammar.HOST_NAME.match(text.removesuffix(".")))
    assert listed.knows(text) == (below and "*" not in text)


@pytest.mark.parametrize(
    ("rule", "port", "spoken"),
    [
        (EgressRule("a.example", (443,)), 443, "tls"),
        (EgressRule("a.example", (993,)), 993, "tls"),
        (EgressRule("a.example", (80,)), 80, "http"),
        (EgressRule("a.example", (22,)), 22, "raw"),
        (EgressRule("a.example", (587,)), 587, "raw"),
        (EgressRule("a.example", (5433,), tls=True), 5433, "tls"),
        (EgressRule("a.example", (80,), tls=True), 80, "tls"),
        (EgressRule("a.example", (443,), tls=False), 443, "raw"),
        (EgressRule("a.example", (80,), tls=False), 80, "raw"),
        (EgressRule("10.0.0.0/8", (443,), private=True), 443, "raw"),
        (EgressRule("fd00::1", (80,), private=True), 80, "raw"),
    ],
)
def test_what_is_spoken_on_a_port(rule: EgressRule, port: int, spoken: str) -> None:
    assert protocol(rule, port) == spoken
