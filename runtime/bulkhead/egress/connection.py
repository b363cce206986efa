"""What is told of one connection, or of one refused name, and how a profile would allow it. PURE.

Times are time.time_ns(), sizes bytes. ``reason`` is a stable word of REASONS, ``detail`` a text for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bulkhead.grammar import HOST_NAME

REASONS = {
    "": "the program or the other side ended it",
    "name": "no rule is for the name",
    "names": "the sandbox has asked for more names than it may have",
    "port": "the rule for the name has not this port",
    "address": "no rule is for the address, and no name was asked for",
    "plaintext": "no TLS came where TLS was due",
    "sni": "the ClientHello has no server name, or another one",
    "ech": "the ClientHello hides its server name",
    "host": "an HTTP request has no Host, another one, or could be read in two ways",
    "silent": "the program ended, or waited, before it had said whom it speaks to",
    "private": "the name leads to a private address",
    "forbidden": "the name leads to an address that is never dialled",
    "own": "the name leads to this machine",
    "unresolved": "the name has no address",
    "unreachable": "the other side cannot be reached, or refused",
    "connect": "the other side did not answer in time",
    "connections": "the sandbox has as many connections as it may have",
    "rate": "the sandbox asks too often",
    "bytes": "the sandbox has sent, or received, as much as it may",
    "certificate": "the other side could not prove its name",
    "untrusted": "the program did not accept Bulkhead's own certificate for the host of a secret",
    "exfiltration": "a secret's placeholder was on its way to a host that the secret is not for",
    "binding": "a secret's placeholder stood where the profile does not let the secret go",
    "lease": "a secret was asked for while no call was in flight that may use it",
    "secret": "a secret's value cannot stand in a request",
    "encoded": "an answer that may repeat a secret came compressed",
    "idle": "nothing went either way for too long",
    "closed": "the session ended",
    "internal": "Bulkhead failed",
}


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection, or one refused name (port is 0 then).

    name: what was asked for, "" for a literal address. address: where the program went. rule: "host:port,port" of the
    one that decided, or that names the host but not the port; "" if there is none. decision: "allow" if only the other
    side or a bound was against it. sent and received: what was passed on to the other side, and to the program.
    opened_ns: 0 if nothing was reached. ended_ns: 0 while it lives. untold: how many before it were refused for
    "connections", and only counted. again: this name was refused before, so it is news only to another call.
    """

    name: str
    address: str
    port: int
    begun_ns: int
    decision: Literal["allow", "deny"] = "deny"
    rule: str = ""
    reason: str = ""
    detail: str = ""
    dialled: str = ""
    sent: int = 0
    received: int = 0
    opened_ns: int = 0
    ended_ns: int = 0
    untold: int = 0
    again: bool = False


def refusal_hint(connection: Connection) -> str:
    """The [[egress]] table that would allow what was refused, in place of one for the same host; "" if none would.

    A name is refused before its port is known: 443 stands for it.
    """
    _, _, listed = connection.rule.rpartition(":")
    ports = {int(port) for port in listed.split(",") if port}
    match connection.reason:
        case "name":
            return _table(connection.name, {443})
        case "port":
            return _table(connection.name, ports | {connection.port})
        case "private" | "own":
            return _table(connection.name, ports, "private = true")
        case "plaintext":
            return _table(connection.name, ports, "tls = false")
        case _:
            return ""


def _table(host: str, ports: set[int], *more: str) -> str:
    """ "" for what DNS takes as a name, and a profile does not."""
    if not ("." in host and HOST_NAME.match(host)):
        return ""
    return "\n".join(("[[egress]]", f'host = "{host}"', f"ports = {sorted(ports)}", *more))
