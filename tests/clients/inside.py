"""Runs in the sandbox of the clients, alone with the standard library: starts what a test asks for, and tells its end.

The protocol is that of tests/security/guest.py.
"""

import json
import os
import subprocess
import sys
from typing import Any


def ran(argv: list[str], stdin: str, env: dict[str, str], patience: float) -> dict[str, Any]:
    """A program's code, stdout and stderr. code is None if it did not end in time."""
    try:
        done = subprocess.run(
            argv, input=stdin.encode(), env=os.environ | env, capture_output=True, timeout=patience, check=False
        )
    except subprocess.TimeoutExpired as late:
        return {"code": None, "out": _text(late.stdout), "err": _text(late.stderr)}
    return {"code": done.returncode, "out": _text(done.stdout), "err": _text(done.stderr)}


def _text(said: bytes | None) -> str:
    return (said or b"").decode(errors="replace")


def main() -> None:
    """Answers until its stdin ends."""
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        sys.stdout.write(json.dumps({"value": globals()[name](*arguments)}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
