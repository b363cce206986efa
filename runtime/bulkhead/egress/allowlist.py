"""Which names, addresses and ports a profile's [[egress]] allows. PURE.

Rules: a name is compared as one canonical text, never as it came; ``*.example.com`` is every name below example.com and
not example.com itself; ports are exact; where two rules fit, the narrower one decides. What has no rule is refused.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, Literal

from bulkhead import grammar
from bulkhead.egress import addresses

if TYPE_CHECKING:
    from bulkhead.spec import EgressRule

Protocol = Literal["tls", "http", "raw"]

# Where a client speaks first, and with a ClientHello. Not 25, 110, 143, 587 or 5432: they begin in the clear.
TLS_PORTS = frozenset(
    (443, 465, 563, 636, 853, 989, 990, 992, 993, 994, 995, 2376, 3269, 5061, 5671, 6443, 6514, 6697, 8443, 8883, 9443)
)
HTTP_PORT = 80


class Allowlist:
    """The rules of one sandbox. No rule, nothing allowed."""

    def __init__(self, rules: tuple[EgressRule, ...]) -> None:
        self._names = {rule.host: rule for rule in rules if grammar.HOST_NAME.match(rule.host)}
        networks = [(ip_network(rule.host), rule) for rule in rules if rule.host not in self._names]
        self._networks: list[tuple[IPv4Network | IPv6Network, EgressRule]]
        self._networks = sorted(networks, key=lambda pair: -pair[0].prefixlen)
        self.ports = tuple(sorted({port for rule in rules for port in rule.ports}))

    def knows(self, name: str) -> bool:
        """Whether any rule, on whichever port, is for the name: DNS has an address for it."""
        return bool(self._rules(name))

    def rule_for(self, name: str, port: int) -> EgressRule | None:
        """The narrowest rule for the name that has the port."""
        return next((rule for rule in self._rules(name) if port in rule.ports), None)

    def rule_for_address(self, address: str, port: int) -> EgressRule | None:
        """The narrowest rule for a literal address, for a program that asked for no name."""
        ip = addresses.parse(address)
        fitting = (rule for network, rule in self._networks if ip is not None and ip in network)
        return next((rule for rule in fitting if port in rule.ports), None)

    def _rules(self, name: str) -> list[EgressRule]:
        try:
            labels = host_name(name).split(".")
        except ValueError:
            return []
        keys = [".".join(labels), *("*." + ".".join(labels[depth:]) for depth in range(1, len(labels)))]
        return [self._names[key] for key in keys if key in self._names]


def host_name(text: str) -> str:
    """The canonical form of a name on the wire: lower case, A-labels, no final dot.

    Raises ValueError with the reason for what is no host name: an address in any notation, a wildcard, an underscore,
    a character outside ASCII, an empty or over-long label.
    """
    name = text.lower() if text.isascii() else ""
    name = name.removesuffix(".")
    if len(name) > 253 or name.startswith("*") or not grammar.HOST_NAME.match(name):
        raise ValueError("this is no host name")
    return name


def protocol(rule: EgressRule, port: int) -> Protocol:
    """What is spoken on the port, which says how a connection is checked against the name that was asked for.

    "tls": the ClientHello's SNI; "http": every request's Host; "raw": not at all, as for a literal address.
    """
    if rule.tls is False or not grammar.HOST_NAME.match(rule.host):
        return "raw"
    if rule.tls or port in TLS_PORTS:
        return "tls"
    return "http" if port == HTTP_PORT else "raw"
