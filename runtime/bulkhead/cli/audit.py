"""`bulkhead audit verify|tail|export|bundle|unused`: what happened, whether that is whole, and where it goes."""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkhead.cli import audit_tail, say
from bulkhead.cli.audit_tail import clock, folder, text
from bulkhead.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bulkhead.audit.follow import Sink
    from bulkhead.audit.record import Sealed
    from bulkhead.audit.unused import Grant
    from bulkhead.audit.verify import Report
    from bulkhead.spec import ServerSpec

_SHOWN = 50  # findings; --json has all

_AUDIT = """examples:
  bulkhead audit verify
  bulkhead audit tail -f --server github
  bulkhead audit export --format ocsf --follow --to https://siem.example.com/in
  bulkhead audit bundle 2fe07076db0f -o evidence.tar.gz
  bulkhead audit unused github
"""


def add_parser(commands: Any) -> None:
    """The command and its five parts."""
    audit_help = "the tamper-evident log: verify, show, export, take as evidence"
    parser = commands.add_parser("audit", help=audit_help, epilog=_AUDIT)
    parts = parser.add_subparsers(metavar="verify|tail|export|bundle|unused", required=True)
    _add_verify(parts)
    _add_tail(parts)
    _add_export(parts)
    bundle = parts.add_parser("bundle", help="the evidence of one session in one file, which verifies elsewhere")
    bundle.add_argument("session", metavar="SESSION", help="the session's id, as `tail` shows it")
    bundle.add_argument("-o", dest="output", metavar="FILE.tar.gz", type=Path, required=True)
    bundle.set_defaults(run=_bundle)
    unused = parts.add_parser("unused", help="what profiles grant and nobody used")
    unused.add_argument("name", nargs="?", metavar="NAME", help="a profile's name; all where none is given")
    unused.add_argument("--since", metavar="DAYS", type=_number, default=30, help="how far to look back; 30")
    unused.add_argument("--json", action="store_true", help="for programs")
    unused.set_defaults(run=_unused)


def _add_verify(parts: Any) -> None:
    verify = parts.add_parser("verify", help="whether the log is what was written; exit code 8 if not")
    verify.add_argument("bundle", nargs="?", metavar="BUNDLE", type=Path, help="a file that `bundle` made")
    verify.add_argument("--key", metavar="PUB", type=Path, help="the public key that has to have signed")
    verify.add_argument("--anchor", metavar="FILE|SEQ:HASH", help="what was kept elsewhere")
    verify.add_argument("--json", action="store_true", help="for programs")
    verify.set_defaults(run=_verify)


def _add_tail(parts: Any) -> None:
    tail = parts.add_parser("tail", help="the last records")
    tail.add_argument("-n", dest="count", metavar="N", type=_number, default=20, help="how many; 20")
    tail.add_argument("-f", dest="follow", action="store_true", help="and those that come")
    tail.add_argument("--server", metavar="NAME", default="", help="of one server alone")
    tail.add_argument("--json", action="store_true", help="as they stand in the log")
    tail.set_defaults(run=audit_tail.run)


def _add_export(parts: Any) -> None:
    export = parts.add_parser("export", help="records for a SIEM")
    export.add_argument("--format", choices=("ocsf", "cef", "ecs", "json"), required=True)
    export.add_argument("--since", metavar="SEQ", type=_number, help="from this record on; 1")
    export.add_argument("--follow", action="store_true", help="ships what comes, and goes on where it was")
    export.add_argument("--to", metavar="FILE|URL", default="", help="where to; stdout")
    export.add_argument(
        "--authorization", metavar="FROM", default="", help="the header, from env:VAR, keyring:NAME ..."
    )
    export.set_defaults(run=_export)


def _verify(args: argparse.Namespace) -> int:
    report = _report(args)
    if args.json:
        sys.stdout.write(json.dumps(report.as_json(), indent=2) + "\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in _told(report)))
    return IntegrityError.exit_code if report.failed else 0


def _report(args: argparse.Namespace) -> Report:
    from bulkhead.audit.bundle import verify_bundle
    from bulkhead.audit.signing import public_from
    from bulkhead.audit.verify import read_anchors, verify

    key = public_from(_bytes_of(args.key), str(args.key)) if args.key else None
    anchors = {}
    if args.anchor:
        path = Path(args.anchor)
        anchors = read_anchors(args.anchor, path if path.exists() else None)
    if args.bundle:
        return verify_bundle(args.bundle, key=key, anchors=anchors)
    return verify(folder(), key=key, anchors=anchors)


def _told(report: Report) -> Iterator[str]:
    failed = [finding for finding in report.findings if finding.failed]
    for finding in failed[:_SHOWN]:
        yield f"FAILED  {text(finding.text())}"
    if len(failed) > _SHOWN:
        yield f"FAILED  and {len(failed) - _SHOWN} more; --json has all"
    for finding in report.findings:
        if not finding.failed:
            yield f"note    {text(finding.text())}"
    signed = f"signed up to record {report.signed} by key {report.key}" if report.signed else "nothing is signed yet"
    yield f"{report.records} records, {report.checkpoints} checkpoints, {signed}"
    yield "the log is not what was written" if failed else "the log is whole"
    yield f"anchor  {report.end.seq}:{report.end.hash}"


def _export(args: argparse.Namespace) -> int:
    from bulkhead.audit import follow as ship
    from bulkhead.audit.export import FORMATS
    from bulkhead.audit.record import Link

    def line_of(sealed: Sealed) -> str:
        return FORMATS[args.format](sealed.read())

    if not args.follow:
        sink = _sink(args)
        for batch in _batches(ship.sealed_since(folder(), args.since or 1)):
            sink.send([line_of(sealed) for sealed in batch])
        return 0
    if not args.to:
        raise UsageError("export --follow has no target", hint="give --to FILE or --to URL; `tail -f --json` prints")
    where = args.to if "://" in args.to else str(Path(args.to).absolute())
    cursor = ship.Cursor(folder(), f"{args.format} {where}")
    after = cursor.read() if args.since is None else Link(args.since - 1, "")
    with closing(ship.Reader(folder(), after)) as reader:
        ship.follow(reader, _sink(args), cursor, line_of, pause=time.sleep, say=say)


class _Stdout:
    def send(self, lines: Iterable[str]) -> None:
        """Sink."""
        sys.stdout.write("".join(f"{line}\n" for line in lines))


def _sink(args: argparse.Namespace) -> Sink:
    from bulkhead.audit.follow import FileSink, HttpSink

    if "://" not in args.to:
        return FileSink(Path(args.to)) if args.to else _Stdout()
    if not args.authorization:
        return HttpSink(args.to)
    from bulkhead.credentials.sources import provider_for

    value = provider_for(args.authorization).fetch().value
    return HttpSink(args.to, value.decode("latin-1").strip())


def _bundle(args: argparse.Namespace) -> int:
    from bulkhead.audit.bundle import write_bundle
    from bulkhead.audit.log import AuditLog

    AuditLog(folder()).close()  # so that what is there is signed
    span = write_bundle(folder(), args.session, args.output)
    say(f"{args.output}: records {span.first} to {span.last}, {span.own} of them of the session {args.session}")
    return 0


def _unused(args: argparse.Namespace) -> int:
    from bulkhead.audit.follow import sealed_since
    from bulkhead.audit.unused import granted

    since = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - args.since * 86400))
    records = [sealed.read() for sealed in sealed_since(folder(), 1) if sealed.time >= since]
    rows = [(spec.name, grant) for spec in _specs(args.name) for grant in granted(spec, records)]
    if args.json:
        told = [{"server": server, **grant._asdict()} for server, grant in rows]
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
        return 0
    _print_grants(rows)
    return 0


def _specs(name: str | None) -> Iterator[ServerSpec]:
    from bulkhead.cli.profile import judged
    from bulkhead.config import find_profile, list_profiles, load_profile

    if name:
        yield load_profile(find_profile(name, Path.cwd()))
        return
    for found in list_profiles(Path.cwd()):
        spec, _ = judged(found.path)
        if spec is not None:
            yield spec


def _print_grants(rows: list[tuple[str, Grant]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from bulkhead.cli.trace import UNWRAPPED

    table = Table(box=None, pad_edge=False)
    for heading in ("SERVER", "RIGHT", "WHAT", "USED", "LAST"):
        table.add_column(heading, overflow="fold")
    for server, grant in rows:
        used = {None: "not recorded", 0: "never"}.get(grant.used, str(grant.used))
        table.add_row(text(server), grant.kind, text(grant.what), used, clock(grant.last) if grant.last else "-")
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = UNWRAPPED
    console.print(table if rows else "no profiles grant anything")


def _batches(records: Iterator[Sealed]) -> Iterator[list[Sealed]]:
    from itertools import islice

    while batch := list(islice(records, 500)):
        yield batch


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read", why=error.strerror or "") from error


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 10**15:
        raise argparse.ArgumentTypeError("a whole number from 1 on is expected")
    return int(text)
