"""What published servers say of themselves, scanned: `python -m tests.scan.published [NAME ...]`.

Each server is started once in a sandbox without a network, as a host would start it; what it declares is kept in the
user's cache, never in the repository, and read again after that. Prints a line a server: how much it declares, and
how many findings at which level. Ends with 1 if anything would be held.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkhead.policy.scan import scan
from tests.faults.client import Host
from tests.scan.packages import SERVERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.scan.packages import Published

_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bulkhead-tests" / "published"
_LISTS = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}
_BUILD = 400
_ANSWER = 30


def declared(server: Published) -> dict[str, Any]:
    """What a server declares: the answer to initialize under "initialize", then the items of each list by its key."""
    path = _CACHE / f"{server.package.replace('/', '+')}.json"
    if not path.exists():
        _CACHE.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_asked(server)), encoding="utf-8")
    answer: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return answer


def _asked(server: Published) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder) / "published.toml"
        profile.write_text(_profile(server), encoding="utf-8")
        command = [sys.executable, "-m", "bulkhead", "run", "--profile", str(profile)]
        host = Host(command, name="published", state=Path(folder))
        try:
            return _lists(host)
        finally:
            host.close()


def _profile(server: Published) -> str:
    env = ", ".join(f"{name} = {json.dumps(value)}" for name, value in server.env)
    command = f"command = {json.dumps(server.command)}" if server.command else ""
    return f"""[server]
package = {json.dumps(server.package)}
{command}
args = {json.dumps(server.args)}
env = {{ {env} }}

[limits]
memory = "2GiB"
pids = 512
tmp = "256MiB"
start = "120s"

[sandbox]
exec_tmp = true
"""


def _lists(host: Host) -> dict[str, Any]:
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
    opening = host.answer(host.ask("initialize", params), _BUILD)
    assert "result" in opening, opening
    host.send(method="notifications/initialized")
    return {"initialize": opening["result"]} | {key: _pages(host, method, key) for method, key in _LISTS.items()}


def _pages(host: Host, method: str, key: str) -> list[Any]:
    items: list[Any] = []
    params: dict[str, Any] = {}
    while True:
        result = host.answer(host.ask(method, params), _ANSWER).get("result", {})
        items += result.get(key, [])
        if not result.get("nextCursor"):
            return items
        params = {"cursor": result["nextCursor"]}


def items(found: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """(name, what would be approved) of each thing a server declares; the server's own word on itself first."""
    opening = found["initialize"]
    yield "server", {key: opening.get(key) for key in ("serverInfo", "instructions")}
    for key in _LISTS.values():
        for item in found[key]:
            yield f"{key}/{item.get('name', item.get('uri'))}", item


def main(names: list[str]) -> int:
    """The table, for all or for the packages whose name contains one of names."""
    held = count = 0
    for server in SERVERS:
        if names and not any(name in server.package for name in names):
            continue
        try:
            parts = list(items(declared(server)))
        except AssertionError as error:
            sys.stdout.write(f"{server.package:60} does not start: {str(error)[:60]!r}\n")
            continue
        findings = [(name, finding) for name, item in parts for finding in scan(item)]
        by_level = {level: [one for one in findings if one[1].level == level] for level in ("hold", "tell")}
        count += len(parts)
        held += len(by_level["hold"])
        sys.stdout.write(f"{server.package:60} {len(parts):4} {len(by_level['hold']):4} {len(by_level['tell']):4}\n")
        for name, finding in findings if names else by_level["hold"]:
            sys.stdout.write(f"    {finding.level} {finding.rule} {name}{finding.at}: {finding.excerpt!r}\n")
    sys.stdout.write(f"{count} items, {held} held\n")
    return 1 if held else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
