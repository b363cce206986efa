"""The version that `run -- npx -y PKG` means: the newest at its first use, and the same ever after."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bulkhead.supply.names import parse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bulkhead.engines.base import Engine

_ANY = "0"  # stands in for a version while a package has none


def pinned(package: str, *, state: Path) -> str:
    """The version that "npm:NAME" or "pypi:NAME" was pinned to, or "". Raises UsageError for what is no name of one."""
    return _read(state).get(_key(package), "")


async def resolve_newest(package: str, engine: Engine, *, state: Path, say: Callable[[str], None]) -> str:
    """The newest version of "npm:NAME" or "pypi:NAME". Asks no registry when it was asked before.

    Raises UsageError for what is no package's name, StartError (reason "build") and EngineError.
    """
    key, pins = _key(package), _read(state)
    if key not in pins:
        from bulkhead.supply.build import alone, newest, write  # noqa: PLC0415 - on the way of `run`: see images.py

        named = parse(f"{key}@{_ANY}")
        version = await newest(named.registry, named.name, engine, state=state, say=say)
        async with alone(state, say):
            pins = {key: version} | _read(state)  # whoever was first has pinned it
            write(_path(state), json.dumps(pins, indent=1, sort_keys=True) + "\n")
        say(f"{key}: pinned to {pins[key]} in {_path(state)}")
    return pins[key]


def _key(package: str) -> str:
    return str(parse(f"{package}@{_ANY}")).removesuffix(f"@{_ANY}")


def _path(state: Path) -> Path:
    return state / "versions.json"


def _read(state: Path) -> dict[str, str]:
    try:
        pins: dict[str, str] = json.loads(_path(state).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return pins
