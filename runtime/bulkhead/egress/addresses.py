"""Which addresses of the outside may be dialled. PURE."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address


def parse(address: str) -> IPv4Address | IPv6Address | None:
    """The address that a socket's text means, a v4-mapped one as the IPv4 address that it is; None for any other text.

    It is for getsockname() of a listener of both families, which shows IPv4 as ``::ffff:198.18.0.1``.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip


def vet(address: str, *, private: bool) -> str:
    """ "" if the address may be dialled, else what kind of address it is that may not: "loopback", "link-local" ...

    private: the rule lets its name lead to private addresses: those of loopback, RFC 1918, ULA and the like may be
    dialled too, but never what is link-local, a cloud's metadata service, multicast, unspecified or reserved.
    """
    ip = ip_address(address)
    return "" if private or ip.is_global else "private"
