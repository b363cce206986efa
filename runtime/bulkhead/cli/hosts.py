"""What `secrets scan` and `doctor` say of the configurations of hosts: where a secret lies open, and how to move it."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkhead.cli.profile import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bulkhead.hosts.secrets import Finding


def plain_secrets_here() -> list[Finding]:
    """Those of the person's home and of the current folder."""
    from bulkhead.hosts.secrets import plain_secrets

    return plain_secrets(Path.home(), Path.cwd())


def as_row(finding: Finding) -> dict[str, Any]:
    """For programs."""
    return asdict(finding) | {"path": str(finding.path)}


def print_secrets(findings: Sequence[Finding]) -> None:
    """Three lines each: where, what, and what to do."""
    for finding in findings:
        where = f"{finding.path}:{finding.line}"
        what = f"{finding.server}: {finding.variable} looks like {finding.what}" if finding.variable else finding.what
        sys.stdout.write(f"{plain(where)}\n  {plain(what)}\n  do:  {plain(finding.hint)}\n")
    if not findings:
        sys.stdout.write("no secret lies open in the configurations of hosts\n")
