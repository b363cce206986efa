"""--mount, --allow and --secret: each is one more table of the profile, and is judged by the same schema.

A flag is parsed here only as far as it must be to become a table; ``where`` then answers with the flag itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkhead.egress.allowlist import TLS_PORTS
from bulkhead.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bulkhead.config.locate import At
    from bulkhead.config.problems import Where

_ALLOW = re.compile(
    r"(?:\[(?P<v6>[^\[\]]*:[^\[\]]*)\]|(?P<host>[^\[\]:]+)):(?P<ports>[0-9]{1,5}(?:,[0-9]{1,5})*)(?P<private>:private)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Flags:
    """--mount S:T[:rw], --allow HOST:PORT[,PORT][:private] and --secret NAME=FROM, as they were typed."""

    mounts: Sequence[str] = ()
    allow: Sequence[str] = ()
    secrets: Sequence[str] = ()


def with_flags(data: dict[str, Any], where: Where, flags: Flags) -> tuple[dict[str, Any], Where]:
    """The document's tables with those that the flags mean at their ends, and where each stands."""
    added = {
        "mounts": [(f"--mount {text}", _mount(text)) for text in flags.mounts],
        "egress": [(f"--allow {text}", _rule(text)) for text in flags.allow],
        "secrets": [(f"--secret {text.partition('=')[0]}=...", _secret(text)) for text in flags.secrets],
    }
    places: dict[At, str] = {}
    data = dict(data)
    hosts = _hosts_of([*_tables(data, "egress"), *(table for _, table in added["egress"])])
    for _, table in added["secrets"]:
        table["hosts"] = hosts
    for key, entries in added.items():
        written = data.get(key, [])
        if not entries or not isinstance(written, list):
            continue
        places |= {(key, len(written) + index): flag for index, (flag, _) in enumerate(entries)}
        data[key] = [*written, *(table for _, table in entries)]
    return data, lambda at: places.get(at[:2]) or where(at)


def _mount(text: str) -> dict[str, Any]:
    parts = text.split(":")
    if len(parts) not in (2, 3) or not all(parts) or parts[2:] not in ([], ["rw"], ["ro"]):
        raise UsageError(
            f"--mount {text[:200]!r} is not understood",
            why="it is SOURCE:TARGET, with :rw to let the server write; neither path may hold a ':'",
            hint="such as --mount ~/notes:/work:rw",
        )
    source, target = parts[:2]
    if not source.startswith(("/", "~", "$")):
        source = str(Path.cwd() / source)
    return {"source": source, "target": target, "write": parts[2:] == ["rw"]}


def _rule(text: str) -> dict[str, Any]:
    match = _ALLOW.fullmatch(text)
    if not match:
        raise UsageError(
            f"--allow {text[:200]!r} is not understood",
            why="it is HOST:PORT or HOST:PORT,PORT, with IPv6 in brackets, and :private to let it be a private address",
            hint="such as --allow api.github.com:443, or --allow [fd00::5]:5432:private",
        )
    ports = [int(port) for port in match["ports"].split(",")]
    return {"host": match["v6"] or match["host"], "ports": ports, "private": match["private"] is not None}


def _tables(data: dict[str, Any], key: str) -> list[Any]:
    written = data.get(key, [])
    return written if isinstance(written, list) else []


def _hosts_of(rules: list[Any]) -> list[Any]:
    """Those that a secret of the command line is for: all that the server reaches with TLS."""
    found = [rule for rule in rules if isinstance(rule, dict) and rule.get("tls") is not False]
    ports = [(rule.get("host"), rule.get("ports")) for rule in found]
    return [host for host, own in ports if isinstance(own, list) and TLS_PORTS.intersection(own)]


def _secret(text: str) -> dict[str, Any]:
    name, _, source = text.partition("=")
    if not name or not source:
        raise UsageError(
            "a --secret is not understood", why="it is NAME=FROM", hint="such as --secret TOKEN=keyring:github"
        )
    return {"name": name, "from": source}
