"""What a new user reads says what is there: commands, files, reasons, a configuration and a profile that work."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from bulkhead import errors
from bulkhead.cli import MODULES
from bulkhead.config.launchers import parse_command
from bulkhead.config.schema import ServerSpec
from bulkhead.egress.bounds import DEFAULT
from bulkhead.egress.connection import REASONS

ROOT = Path(__file__).resolve().parents[2]
READ = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/comparison.md", "docs/troubleshooting.md"]
TROUBLE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
_CODE = re.compile(r"^```\n(.*?)^```|`([^`\n]+)`", re.DOTALL | re.MULTILINE)
KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.BulkheadError)]


def _words_of(kind: type[errors.BulkheadError]) -> set[str]:
    """The class's own reason, and those that its docstring lists after "reason"."""
    _, _, listed = (kind.__doc__ or "").partition("reason")
    return {kind.reason, *re.findall(r"``(\w+)``", listed)}


def _reasons_raised() -> set[str]:
    """Those of connections have a table of their own, and those of records are no errors."""
    package = ROOT / "runtime" / "bulkhead"
    sources = [path for path in package.rglob("*.py") if path.parent.name != "egress"]
    lines = [line for path in sources for line in path.read_text(encoding="utf-8").splitlines() if "ecord(" not in line]
    return {word for line in lines for word in re.findall(r'\breason="([a-z_]+)"', line)}


def test_every_reason_has_its_paragraph() -> None:
    reasons = set().union(*map(_words_of, KINDS)) | _reasons_raised()
    assert {"oom", "restarts", "build", "denied", "unenforceable"} <= reasons
    assert set(re.findall(r"^### `(\w+)`$", TROUBLE, re.MULTILINE)) == reasons


def test_every_reason_of_a_connection_has_its_row() -> None:
    section = TROUBLE.partition("\n## Refused connections\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", section, re.MULTILINE)
    assert {reason: meaning for reason, meaning, _ in rows} == {key: text for key, text in REASONS.items() if key}
    bounds: dict[str, list[float]] = {
        "names": [DEFAULT.names], "connect": [DEFAULT.connect], "connections": [DEFAULT.connections],
        "rate": [DEFAULT.queries], "bytes": [DEFAULT.sent / 2**30, DEFAULT.received / 2**30],
        "idle": [DEFAULT.idle / 60],
    }  # fmt: skip
    told = {reason: re.findall(r"\d+", advice) for reason, _, advice in rows if re.search(r"\d", advice)}
    assert told == {reason: [f"{bound:g}" for bound in found] for reason, found in bounds.items()}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_reason_stands_beside_its_exit_code(kind: type[errors.BulkheadError]) -> None:
    row = re.search(rf"^\| {kind.exit_code} \|.*$", TROUBLE, re.MULTILINE)
    assert row is not None
    assert _words_of(kind) <= set(re.findall(r"`(\w+)`", row[0]))


@pytest.mark.parametrize("name", READ)
def test_commands_and_targets_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    code = "\n".join(first or second for first, second in _CODE.findall(text))
    assert set(re.findall(r"\bbulkhead ([a-z]+)\b", code)) <= set(MODULES)
    assert set(re.findall(r"\bmake ([a-z]+)\b", code)) <= set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


@pytest.mark.parametrize("name", READ)
def test_links_lead_somewhere(name: str) -> None:
    path = ROOT / name
    links = re.findall(r"\]\(([^)#]+)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_configuration_entry_only_puts_bulkhead_before() -> None:
    before, after = (_server(fence) for fence in ("json before", "json after"))
    assert after["command"].endswith("/bulkhead")
    assert after["args"] == ["run", "--", before["command"], *before["args"]]
    assert parse_command(after["args"][2:]).package == "npm:@modelcontextprotocol/server-memory"


def test_the_profile_is_valid_and_complete() -> None:
    data = tomllib.loads(_fence("toml profile"))
    spec = ServerSpec.model_validate(data | {"name": "notes"})
    assert spec.limits.memory == 256 * 2**20
    assert spec.mounts[0].write


def test_the_picture_asks_nothing_of_other_hosts() -> None:
    picture = (ROOT / "docs" / "demo.svg").read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^\"'/\s]+", picture)) == {"http://www.w3.org"}


def _fence(info: str) -> str:
    match = re.search(rf"^```{info}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert match is not None, info
    return match[1]


def _server(info: str) -> Any:
    return json.loads(_fence(info))["mcpServers"]["memory"]
