"""Which hosts a build may reach, of the URLs that clients name."""

from __future__ import annotations

import pytest

from bulkhead.errors import StartError
from bulkhead.spec import EgressRule
from bulkhead.supply.registries import rules


def _rule(host: str, *ports: int, tls: bool | None = None) -> EgressRule:
    return EgressRule(host, ports, private=True, tls=tls)


@pytest.mark.parametrize(
    ("urls", "expected"),
    [
        (["https://one.invalid/simple"], [_rule("one.invalid", 443, tls=True)]),
        (["https://user:word@One.invalid.:8081/simple"], [_rule("one.invalid", 8081, tls=True)]),
        (["http://one.invalid/debian", "http://one.invalid/other"], [_rule("one.invalid", 80)]),
        (["http://one.invalid", "https://one.invalid"], [_rule("one.invalid", 80, 443)]),
        (["https://b.invalid", "https://a.invalid"], [_rule(f"{x}.invalid", 443, tls=True) for x in "ab"]),
        (["https://nexus/simple"], [_rule("nexus", 443, tls=True)]),
        (["http://10.0.0.7:8000/simple"], [_rule("10.0.0.7", 8000)]),
        (["http://[fd00::7]:8000/simple"], [_rule("fd00::7", 8000)]),
        (["http://localhost:8000/simple"], [_rule("127.0.0.1", 8000), _rule("::1", 8000)]),
        ([], []),
    ],
)
def test_a_registry_is_a_rule(urls: list[str], expected: list[EgressRule]) -> None:
    assert rules(urls, ()) == tuple(expected)


@pytest.mark.parametrize(
    ("proxy", "expected"),
    [
        ("http://proxy.invalid:3128", _rule("proxy.invalid", 3128, tls=False)),
        ("proxy.invalid:3128", _rule("proxy.invalid", 3128, tls=False)),
        ("http://proxy.invalid", _rule("proxy.invalid", 80, tls=False)),
        ("socks5h://proxy.invalid", _rule("proxy.invalid", 1080, tls=False)),
    ],
)
def test_a_proxy_is_a_rule_without_a_check(proxy: str, expected: EgressRule) -> None:
    registry = _rule("one.invalid", 443, tls=True)
    assert set(rules(["https://one.invalid"], [proxy])) == {registry, expected}


@pytest.mark.parametrize("url", ["https://", "https://*.one.invalid", "http://a_b.invalid", "http://one.invalid:99999"])
def test_what_no_rule_can_name_stops_the_build(url: str) -> None:
    with pytest.raises(StartError) as caught:
        rules([url], ())
    assert caught.value.reason == "build"
