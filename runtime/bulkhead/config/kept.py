"""What was judged once is kept: a spec under the digest of all that made it, so that a start need not judge again.

Judging takes pydantic, which costs a runner 130 ms of its start and 13 MB for its whole life. Kept is only what depends
on the text alone and was found right; folders of the host are looked at every time. The state folder is the user's
alone, as the profiles are, and a file that is not read as expected is as if it were not there.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkhead import __version__
from bulkhead.config.settings import state_dir
from bulkhead.spec import (
    EgressRule,
    Guards,
    Limits,
    Mount,
    Sandbox,
    Screen,
    SecretBinding,
    Server,
    ServerSpec,
    Tools,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_TABLES = {
    "server": Server,
    "limits": Limits,
    "tools": Tools,
    "guards": Guards,
    "screen": Screen,
    "sandbox": Sandbox,
}
_MOST = 256
_LISTS = {"mounts": Mount, "egress": EgressRule, "secrets": SecretBinding}


def key_of(judged: Any) -> str:
    """The name under which a verdict is kept: it changes with what was judged, and with the code that judges."""
    text = json.dumps([__version__, list(_judges()), judged], sort_keys=True, default=repr)
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def recall(key: str) -> ServerSpec | None:
    """The spec that was kept under key."""
    try:
        data = json.loads((_folder() / key).read_text(encoding="utf-8"))
        return spec_from(data)
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return None


def keep(key: str, spec: ServerSpec) -> None:
    """Keeps a spec that was found right; of many the newest."""
    folder = _folder()
    folder.mkdir(mode=0o700, exist_ok=True)
    new = folder / f"{key}.{os.getpid()}"
    new.write_text(json.dumps(asdict(spec)), encoding="utf-8")
    new.replace(folder / key)
    for older in sorted(folder.iterdir(), key=_written, reverse=True)[_MOST:]:
        older.unlink(missing_ok=True)


def spec_from(data: dict[str, Any]) -> ServerSpec:
    """The spec of which asdict() and JSON made data."""
    tables = {key: kind(**_with_tuples(data[key])) for key, kind in _TABLES.items()}
    lists = {key: tuple(kind(**_with_tuples(item)) for item in data[key]) for key, kind in _LISTS.items()}
    return ServerSpec(**{**data, **tables, **lists})


def _with_tuples(table: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another runner was faster
        return 0.0


def _folder() -> Path:
    return state_dir() / "judged"


def _judges() -> Iterator[tuple[str, int]]:
    """The files that judge: in a checkout they change without a new version."""
    here = Path(__file__).parent
    others = [here.parent / name for name in ("grammar.py", "spec.py", "egress/addresses.py", "policy/rules.py")]
    for path in sorted([*here.glob("*.py"), *others]):
        yield path.name, path.stat().st_mtime_ns
