"""`bulkhead audit tail`: the last records, a line each.

Texts in the log came from hosts and servers: what a terminal could take for an order is shown as U+FFFD.
"""

from __future__ import annotations

import json
import re
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from bulkhead.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from pathlib import Path

    from rich.text import Text

    from bulkhead.audit.record import Sealed

_DIGEST = re.compile(r"([0-9a-f]{12})[0-9a-f]{20,}")
_STYLES = {"deny": "red", "hold": "yellow", "rewrite": "yellow"}


def run(args: argparse.Namespace) -> int:
    """Prints; with -f until it is interrupted."""
    from collections import deque

    from bulkhead.audit.follow import Reader, sealed_since
    from bulkhead.audit.record import START

    last: deque[Sealed] = deque(maxlen=args.count)
    end = START
    for sealed in sealed_since(folder(), 1):
        end = sealed.link
        if _is_of(sealed, args.server):
            last.append(sealed)
    show = _as_json if args.json else _shower()
    for sealed in last:
        show(sealed)
    with closing(Reader(folder(), end)) as reader:
        while args.follow:
            for sealed in reader.read(100):
                if _is_of(sealed, args.server):
                    show(sealed)
            time.sleep(0.5)
    return 0


def _as_json(sealed: Sealed) -> None:
    sys.stdout.write(json.dumps(sealed.read(), separators=(",", ":")) + "\n")
    sys.stdout.flush()


def _shower() -> Callable[[Sealed], None]:
    from rich.console import Console

    from bulkhead.cli.trace import UNWRAPPED

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = UNWRAPPED
    return lambda sealed: console.print(_line(sealed.read()))


def _line(record: dict[str, Any]) -> Text:
    from rich.text import Text

    decision = str(record.get("decision", ""))
    called = " ".join(text(record[key]) for key in ("method", "tool") if key in record)
    details = record.get("details")
    pairs = (
        [f"{text(key)}={_short(text(value))}" for key, value in details.items()] if isinstance(details, dict) else []
    )
    parts = [
        (clock(str(record.get("time"))), "dim"),
        (text(record.get("session", "")), "dim"),
        (text(record.get("server", "")), "cyan"),
        (text(record.get("event", "")), ""),
        (called, "bold"),
        (decision if decision != "allow" else "", _STYLES.get(decision, "")),
        (text(record.get("reason", "")), "red"),
        (text(record.get("actor", "")), ""),
        ("; ".join(text(note) for note in record.get("notes", ())), "yellow"),
        (" ".join(pairs), "dim"),
    ]
    return Text("  ").join(Text(text, style=style) for text, style in parts if text)


def _is_of(sealed: Sealed, server: str) -> bool:
    return not server or sealed.read().get("server") == server


def clock(stamp: str) -> str:
    """A record's time as `trace` shows it."""
    from datetime import datetime

    try:
        return datetime.fromisoformat(stamp).astimezone().strftime("%m-%d %H:%M:%S")
    except ValueError:
        return "?"


def text(value: object) -> str:
    """What a terminal takes as it is."""
    from bulkhead.telemetry import clean

    return clean(str(value))


def folder() -> Path:
    """The audit folder. Raises UsageError where there is none."""
    from bulkhead.config.settings import state_dir

    path = state_dir() / "audit"
    if not path.is_dir():
        raise UsageError("there is no audit log yet", why=f"{path} is not there", hint="run a server first")
    return path


def _short(value: str) -> str:
    """A digest or a signature by its beginning: --json has all of it."""
    return _DIGEST.sub(r"\1...", value)
