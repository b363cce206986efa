"""Where the shipped `profiles/` and `images/` are: in a checkout, or in a wheel, which carries them as `_data/`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from bulkhead.errors import ProfileError

_PACKAGE = Path(__file__).resolve().parent


def folder(name: Literal["profiles", "images"]) -> Path:
    """The shipped folder of this name. Raises FileNotFoundError where the installation is broken."""
    for root in (_PACKAGE / "_data", _PACKAGE.parent.parent):
        if (root / name).is_dir():
            return root / name
    raise FileNotFoundError(f"{name}/ is not part of this installation of bulkhead; install it again")


def seccomp_profile(seccomp: str) -> Path:
    """The file of `[sandbox] seccomp`: a name under profiles/seccomp/, or an absolute path. Raises ProfileError."""
    path = Path(seccomp) if seccomp.startswith("/") else folder("profiles") / "seccomp" / f"{seccomp}.json"
    if path.is_file():
        return path
    shipped = ", ".join(sorted(file.stem for file in (folder("profiles") / "seccomp").glob("*.json")))
    raise ProfileError(
        f"no seccomp profile {seccomp!r}",
        why=f"{path} is not a file, and nothing runs without a filter",
        hint=f"shipped ones: {shipped}",
    )
