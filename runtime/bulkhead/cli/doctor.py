"""`bulkhead doctor`: proves what this machine enforces, by trying it in real sandboxes started as any server is.

The probe runs nowhere but in a sandbox: where none starts, that is what the report says.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from bulkhead.cli.serve import runner
from bulkhead.errors import BulkheadError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from bulkhead.egress.connection import Connection
    from bulkhead.engines.base import Engine, EngineInfo, Sandbox
    from bulkhead.engines.probe import Checks
    from bulkhead.engines.runners import Runner
    from bulkhead.launch import Launch
    from bulkhead.spec import EgressRule

_MEMORY = 64 * 2**20
_PIDS = 32
_PATIENCE = 30.0  # seconds that each of the three sandboxes has
_EXAMPLES = """examples:
  bulkhead doctor                exit code 0 if all of it holds, 4 if not
  bulkhead doctor --json
"""
_HOG = "held = [bytearray(2**20) for _ in range(256)]"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: said is what the kernel or the engine answered."""

    group: str
    check: str
    held: bool
    said: str


@dataclass(frozen=True, slots=True)
class Report:
    """about: the engine and the kernel that were tried."""

    about: str
    findings: tuple[Finding, ...]

    @property
    def held(self) -> bool:
        return all(finding.held for finding in self.findings)


def add_parser(commands: Any) -> None:
    """The command."""
    parser = commands.add_parser(
        "doctor", help="tries what a sandbox must refuse, and says what to do", epilog=_EXAMPLES
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0 if all holds, else 4. What profiles and hosts' configurations are warned about changes nothing of that."""
    from bulkhead.cli.hosts import as_row, plain_secrets_here, print_secrets

    with runner() as held:
        report = anyio.run(_examined, held)
    warnings, open_secrets = _warnings(), plain_secrets_here()
    if args.json:
        rows = [asdict(finding) for finding in report.findings]
        whole = {"about": report.about, "held": report.held, "checks": rows, "warnings": warnings}
        whole["hosts"] = [as_row(finding) for finding in open_secrets]
        sys.stdout.write(json.dumps(whole, indent=2) + "\n")
    else:
        _print(report)
        if open_secrets:
            sys.stdout.write("\nhost configurations\n")
            print_secrets(open_secrets)
        sys.stdout.write("".join(f"\nwarning: {warning}\n" for warning in warnings))
    return 0 if report.held else 4


def _warnings() -> list[str]:
    from bulkhead.cli.profile import judged, warnings_of
    from bulkhead.config import list_profiles

    return [warning for found in list_profiles(Path.cwd()) for warning in warnings_of(judged(found.path)[0])]


def _print(report: Report) -> None:
    from rich.console import Console

    from bulkhead.serverlog import printable

    console = Console(highlight=False, emoji=False, soft_wrap=True)
    console.print(printable(report.about), markup=False)
    for group, findings in groupby(report.findings, key=lambda finding: finding.group):
        console.print(f"\n{group}", style="bold", markup=False)
        for finding in findings:
            mark = "[green]holds [/]" if finding.held else "[bold red]BROKEN[/]"
            console.print(f"  {mark}", f"{finding.check:<29}", end=" ")
            console.print(printable(finding.said), style="dim", markup=False)
    broken = [finding.check for finding in report.findings if not finding.held]
    console.print(f"\n{len(report.findings) - len(broken)} of {len(report.findings)} hold.", end=" ")
    console.print(_ADVICE if broken else "Each was tried in a sandbox just now.")


_ADVICE = """The others are not enforced here.
Start no server on this engine that you do not trust. If the line says what the engine or the kernel lacks, mend that;
otherwise please report it, with the output of `bulkhead doctor --json`: SECURITY.md says how."""


async def _examined(held: Runner) -> Report:
    from bulkhead.config import load_settings, state_dir
    from bulkhead.engines.registry import open_engine

    engine = open_engine(load_settings().engine, state=state_dir(), runner=held.id)
    try:
        return await examine(engine)
    finally:
        await engine.close()


async def examine(engine: Engine) -> Report:
    """What engine enforces. Raises EngineError when it does not answer."""
    from bulkhead.cli import say

    info = await engine.probe()
    findings = [Finding("engine", f"can enforce {what}", held=False, said=why) for what, why in info.lacks.items()]
    say("trying to break out of a sandbox ...")
    try:
        findings += await _tried_inside(engine)
        findings.append(await _kills_for_memory(engine))
        findings += await _tried_behind_a_gate(engine)
        findings.append(await _leaves_nothing(engine))
    except BulkheadError as error:
        findings.append(Finding("engine", "starts a sandbox", held=False, said=f"{error.what}: {error.why}"))
    return Report(_about(info), tuple(findings))


def _about(info: EngineInfo) -> str:
    import platform

    machine = "a virtual machine" if info.remote else f"Linux {platform.release()} {platform.machine()}"
    rootless = ", rootless" if info.rootless else ""
    return f"{info.name} {info.version}{rootless} at {info.endpoint}, on {machine}"


async def _ready(engine: Engine, program: str, egress: tuple[EgressRule, ...] = ()) -> Launch:
    from bulkhead.cli import say
    from bulkhead.config import state_dir
    from bulkhead.launch import prepare
    from bulkhead.resources import seccomp_profile
    from bulkhead.spec import Limits, Server, ServerSpec

    spec = ServerSpec(
        name=_name(),
        server=Server(image="bulkhead/python", command=("python3", "-I", "-c", program)),
        limits=Limits(memory=_MEMORY, pids=_PIDS, tmp=2**20),
        egress=egress,
    )
    return await prepare(spec, engine, seccomp_profile=seccomp_profile("default"), state=state_dir(), say=say)


async def _start(engine: Engine, program: str) -> Sandbox:
    launch = await _ready(engine, program)
    return await engine.start(launch.plan())


def _name() -> str:
    """Of this run's sandboxes, which are told from those of another doctor at the same time."""
    return f"doctor-{os.getpid()}"


async def _tried_inside(engine: Engine) -> list[Finding]:
    from bulkhead.engines import probe

    return await _told(await _start(engine, probe.source()), probe.CHECKS)


async def _tried_behind_a_gate(engine: Engine) -> list[Finding]:
    """Nothing is dialled: no check connects to what is allowed."""
    from bulkhead.engines import probe
    from bulkhead.spec import EgressRule

    host, port = probe.ALLOWED
    launch = await _ready(engine, probe.source("EGRESS"), (EgressRule(host, (port,)),))
    findings: list[Finding] = []
    async with anyio.create_task_group() as tasks:
        try:
            findings += await _told(await launch.start(tasks, _Nobody()), probe.EGRESS)
        except BulkheadError as error:
            findings.append(Finding("egress", "starts a gate", held=False, said=f"{error.what}: {error.why}"))
    return findings


class _Nobody:
    """The Journal of a sandbox whose connections are the probe's own."""

    def begun(self) -> Callable[[Connection], None]:
        return self.report

    def report(self, connection: Connection) -> None:
        pass


async def _told(sandbox: Sandbox, checks: Checks) -> list[Finding]:
    """What the probe found, and that it did not finish, for the rest of checks."""
    printed = b""
    with anyio.move_on_after(_PATIENCE):
        async for chunk in sandbox.stdout:
            printed += chunk
    await sandbox.stop(0)
    findings = [Finding(**json.loads(line)) for line in printed.splitlines()]
    missing = checks[len(findings) :]
    return findings + [Finding(group, check, held=False, said="was not finished") for group, check, _ in missing]


async def _kills_for_memory(engine: Engine) -> Finding:
    sandbox = await _start(engine, _HOG)
    with anyio.move_on_after(_PATIENCE):
        await sandbox.wait()
    await sandbox.stop(0)
    end = await sandbox.wait()
    return Finding("limits", "memory", held=end.cause == "oom", said=f"{end} at {_MEMORY >> 20} MiB")


async def _leaves_nothing(engine: Engine) -> Finding:
    left = [sandbox.id for sandbox in await engine.list() if sandbox.server == _name()]
    return Finding("engine", "leaves nothing behind", held=not left, said=", ".join(left) or "no container is left")
