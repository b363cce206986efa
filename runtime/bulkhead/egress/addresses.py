"""Which addresses of the outside may be dialled. PURE.

Rules: a table of what may not, after IANA's special-purpose registries, and not ipaddress's ``is_global``, which has
changed with Python's patch versions; of IPv6 only what was ever assigned (2000::/3) is not special; an IPv4 address
inside an IPv6 one is judged only where a router of the outside takes it out again (NAT64), and is refused elsewhere.
The machine's own addresses are the proxy's to know.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

# The first that fits decides: a metadata service lies inside a network that may be dialled otherwise.
_NEVER = {
    "metadata": (
        "169.254.169.254/32", "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32",
        "fd00:ec2::/32", "fd20:ce::254/128", "fd00:c1::a9fe:a9fe/128", "fd00:42::42/128",
    ),
    "unspecified": ("0.0.0.0/8", "::/128"),
    "link-local": ("169.254.0.0/16", "fe80::/10"),
    "multicast": ("224.0.0.0/4", "ff00::/8"),
    "broadcast": ("255.255.255.255/32",),
    "reserved": ("192.0.0.0/24", "192.88.99.0/24", "240.0.0.0/4", "fec0::/10", "100::/64", "5f00::/16"),
    "embedded": ("::ffff:0:0/96", "2002::/16", "2001::/32", "64:ff9b:1::/48"),
}  # fmt: skip
_PRIVATE = {
    "loopback": ("127.0.0.0/8", "::1/128"),
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
    "shared": ("100.64.0.0/10",),
    "benchmark": ("198.18.0.0/15", "2001:2::/48"),
    "documentation": ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"),
}
# What is left of these once the tables were asked.
_UNASSIGNED = {"reserved": ("2001::/23",), "global": ("2000::/3", "0.0.0.0/0"), "unassigned": ("::/0",)}
_TABLE = tuple(
    (ip_network(network), kind)
    for table in (_NEVER, _PRIVATE, _UNASSIGNED)
    for kind, networks in table.items()
    for network in networks
)
_NAT64 = ip_network("64:ff9b::/96")


def parse(address: str) -> IPv4Address | IPv6Address | None:
    """The address that a socket's text means, a v4-mapped one as the IPv4 address that it is; None for any other text.

    It is for getsockname() of a listener of both families, which shows IPv4 as ``::ffff:198.18.0.1``.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return None
    if isinstance(ip, IPv6Address) and ip.scope_id is not None:
        return None
    return (ip.ipv4_mapped if isinstance(ip, IPv6Address) else None) or ip


def vet(address: str, *, private: bool) -> str:
    """ "" if the address may be dialled, else what kind of address it is that may not: "loopback", "link-local" ...

    private: the rule lets its name lead to private addresses: those of loopback, RFC 1918, ULA and the like may be
    dialled too, but never what is link-local, a cloud's metadata service, multicast, unspecified or reserved.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return "no address"
    if isinstance(ip, IPv6Address) and ip.scope_id is not None:
        return "link-local"
    if ip in _NAT64:
        ip = IPv4Address(int(ip) & 0xFFFFFFFF)
    kind = next(kind for network, kind in _TABLE if ip in network)
    return "" if kind == "global" or (private and kind in _PRIVATE) else kind
