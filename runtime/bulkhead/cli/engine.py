"""`engine`: which container engine is used, and what it cannot enforce; with --install, makes that there is one."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bulkhead.cli import say

if TYPE_CHECKING:
    import argparse

    from bulkhead.engines.base import EngineInfo

_EXAMPLES = """examples:
  bulkhead engine                what answers, and where
  sudo bulkhead engine --install
"""


def add_parser(commands: Any) -> None:
    """The command and its flags."""
    engine = commands.add_parser(
        "engine", help="which container engine is used; installs one if asked", epilog=_EXAMPLES
    )
    engine.add_argument(
        "--install", action="store_true", help="as root on Debian or Ubuntu: install and start docker.io"
    )
    engine.add_argument("--json", action="store_true", help="for programs")
    engine.set_defaults(run=_engine)


def _engine(args: argparse.Namespace) -> int:
    import anyio

    from bulkhead.config.settings import load_settings, state_dir
    from bulkhead.engines.setup import ensure_engine

    async def main() -> EngineInfo:
        return await ensure_engine(args.install, say, state=state_dir(), setting=load_settings().engine)

    info = anyio.run(main)
    sys.stdout.write((json.dumps(asdict(info)) if args.json else _text(info)) + "\n")
    return 0


def _text(info: EngineInfo) -> str:
    lines = [f"{info.name} {info.version} at {info.endpoint}"]
    return "\n".join(lines + [f"  cannot enforce {what}: {why}" for what, why in info.lacks.items()])
