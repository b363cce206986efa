"""What a profile grants and nobody used: rights that could be taken away. PURE.

Records tell of tools that were called and let through, of connections, and of secrets that were handed out. That a
mounted folder was written to is not recorded, so of those it is said that nothing is known.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bulkhead.spec import ServerSpec


class Grant(NamedTuple):
    """One right. kind: tool, egress, secret, mount. used: how often; None where that is not recorded.

    last: the time of the last use, "" for none.
    """

    kind: str
    what: str
    used: int | None
    last: str = ""


def granted(spec: ServerSpec, records: Iterable[Mapping[str, Any]]) -> list[Grant]:
    """Each right of spec, and its use in the records of this server; the others are left out."""
    uses: dict[tuple[str, str], tuple[int, str]] = {}
    for record in records:
        if record.get("server") == spec.name and record.get("decision") in (None, "allow", "rewrite"):
            for grant in _used(spec, record):
                count, last = uses.get(grant, (0, ""))
                uses[grant] = count + 1, max(last, str(record.get("time", "")))
    known = [Grant(*grant, *uses.get(grant, (0, ""))) for grant in _grants(spec)]
    return known + [Grant("mount", mount.target, None) for mount in spec.mounts if mount.write]


def _grants(spec: ServerSpec) -> list[tuple[str, str]]:
    return [
        *(("tool", pattern) for pattern in spec.tools.allow),
        *(("egress", _rule(rule.host, rule.ports)) for rule in spec.egress),
        *(("secret", secret.name) for secret in spec.secrets),
    ]


def _used(spec: ServerSpec, record: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = record.get("details")
    details: Mapping[str, Any] = found if isinstance(found, dict) else {}
    match record.get("event"):
        case "request":
            tool = str(record.get("tool", ""))
            return [("tool", pattern) for pattern in spec.tools.allow if tool and fnmatchcase(tool, pattern)]
        case "connection":
            return [("egress", str(details.get("rule")))]
        case "secret":
            return [("secret", str(details.get("name")))]
        case _:
            return []


def _rule(host: str, ports: tuple[int, ...]) -> str:
    """As a connection's record names its rule."""
    return f"{host}:{','.join(map(str, ports))}"
