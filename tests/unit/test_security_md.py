"""SECURITY.md names tests that exist, and has no promise without a proof or a word that it is not kept yet."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from bulkhead.engines.hardening import MASKED_PATHS

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
_ID = re.compile(r"`([a-z0-9_/]+\.py)::(test_\w+)`")
_PENDING = re.compile(r"`pending`: supply\b")


def _rows() -> list[tuple[str, str]]:
    """Promise and proof of every row; a promise with a bar in it would be cut, and be seen here."""
    lines = [line for line in TEXT.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [row for row in cells if len(row) != 2] == []
    return [(row[0], row[1]) for row in cells if row not in (["promise", "proof"], ["---", "---"])]


ROWS = _rows()


@cache
def _tests_in(path: Path) -> frozenset[str]:
    """Read, not imported: a proof may need an engine, or what only the suite's own machine has."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_group_has_promises() -> None:
    sections = re.split(r"^### ", TEXT.partition("\n## Promises\n")[2], flags=re.MULTILINE)[1:]
    assert [section.partition("\n")[0] for section in sections] == [
        "Kernel", "File system", "Processes and namespaces", "Resources", "Network", "Egress", "Secrets",
        "What is kept", "Images", "Launch", "Protocol", "Integrity", "Policy", "Record", "Life cycle", "Traces",
    ]  # fmt: skip
    assert all(section.count("\n| ") > 5 for section in sections)


@pytest.mark.parametrize(("promise", "proof"), ROWS, ids=[promise[:60] for promise, _ in ROWS])
def test_a_promise_has_a_proof_or_is_pending(promise: str, proof: str) -> None:
    found = _ID.findall(proof)
    assert promise
    assert found or _PENDING.match(proof)
    for path, name in found:
        assert name in _tests_in(ROOT / "tests" / path), (path, name)


def test_a_proof_is_nothing_but_ids() -> None:
    """A mistyped id would otherwise be taken for words."""
    rest = [_ID.sub("", proof).strip() for _, proof in ROWS if not _PENDING.match(proof)]
    assert [words for words in rest if words] == []


def test_no_promise_stands_twice() -> None:
    promises = [promise for promise, _ in ROWS]
    assert len(set(promises)) == len(promises)


def test_the_number_of_masked_paths_is_counted() -> None:
    assert f"masked: {len(MASKED_PATHS)} paths" in TEXT


def test_links_lead_somewhere() -> None:
    assert [link for link in re.findall(r"\]\(([^)#]+)", TEXT) if not (ROOT / link).exists()] == []
