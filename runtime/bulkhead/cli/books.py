"""Opens what a session writes down and remembers: the audit log, the pins and the habits of its server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from bulkhead.cli.early import Early
    from bulkhead.cli.target import Target
    from bulkhead.engines.runners import Runner
    from bulkhead.judgement import Books
    from bulkhead.launch import Launch


def books_of(runner: Runner, first: Early, target: Target, launch: Launch, state: Path) -> Books:
    """Of one session. Raises IntegrityError (reason ``audit``) where there can be no record: nothing starts then."""
    import getpass

    from bulkhead.audit.log import AuditLog
    from bulkhead.baselines import Baseline
    from bulkhead.config import profile_digest
    from bulkhead.judgement import Books
    from bulkhead.killed import Watch

    spec, audit, how = target.spec, first.settings.audit, target.spec.guards.baseline
    return Books(
        state=state,
        session=runner.id,
        user=getpass.getuser(),
        killed=Watch(state, spec.name),
        audit=AuditLog(state / "audit", sync=audit.sync),
        pins=first.pins,
        begun={
            "image": launch.image.digest,
            "profile": profile_digest(spec),
            "key": target.key,
            "notes": "; ".join(first.notes),
        },
        baseline=None if how == "off" else Baseline(state, target.key, holds=how == "hold"),
        values=audit.arguments == "values",
    )
