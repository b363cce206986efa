"""`bulkhead doctor`: proves what this machine enforces, by trying it in a real sandbox."""

from __future__ import annotations

import inspect
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from bulkhead.cli.serve import runner

if TYPE_CHECKING:
    import argparse

    from bulkhead.engines.base import Engine, Sandbox
    from bulkhead.engines.runners import Runner

# What the two programs below may have, and the seconds that a check may take.
_MEMORY = 64 * 2**20
_PIDS = 64
_PATIENCE = 30.0
_HOG = "x = []\nwhile True: x.append(bytearray(2**20))"
_FORKS = "import os, time\nfor _ in range(500):\n  if not os.fork(): time.sleep(60)\ntime.sleep(60)"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    check: str
    held: bool
    said: str


def add_parser(commands: Any) -> None:
    """The command."""
    parser = commands.add_parser("doctor", help="tries what a sandbox must refuse, and says what to do")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0 if all holds, else 4."""
    with runner() as held:
        findings = anyio.run(_examine, held)
    if args.json:
        rows = [{"check": row.check, "held": row.held, "said": row.said} for row in findings]
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
    else:
        _print(findings)
    return 0 if all(finding.held for finding in findings) else 4


def _print(findings: list[Finding]) -> None:
    from rich.console import Console

    from bulkhead.serverlog import printable

    console = Console(highlight=False, emoji=False)
    for finding in findings:
        mark = "[green]holds [/]" if finding.held else "[bold red]BROKEN[/]"
        console.print(mark, f"{finding.check:<28}", end=" ")
        console.print(printable(finding.said), style="dim", markup=False)
    broken = sum(not finding.held for finding in findings)
    console.print(f"\n{len(findings) - broken} of {len(findings)} hold.", end=" ")
    if broken:
        console.print("No server is started where a line that it needs is broken; docs/troubleshooting.md says more.")
    else:
        console.print("Each was tried in a sandbox just now.")


async def _examine(held: Runner) -> list[Finding]:
    from bulkhead.cli import say
    from bulkhead.config import load_settings, state_dir
    from bulkhead.engines.registry import open_engine

    engine = await open_engine(load_settings().engine, state=state_dir(), runner=held.id)
    try:
        info = await engine.probe()
        found = [Finding("engine", held=True, said=f"{info.name} {info.version} at {info.endpoint}")]
        found += [Finding(f"engine can limit {what}", held=False, said=why) for what, why in info.lacks.items()]
        say("trying to break out of a sandbox ...")
        found += await _tried_inside(engine)
        return [*found, await _kills_for_memory(engine), await _refuses_processes(engine)]
    finally:
        await engine.close()


async def _start(engine: Engine, program: str) -> Sandbox:
    from bulkhead.cli import say
    from bulkhead.config import state_dir
    from bulkhead.launch import prepare
    from bulkhead.resources import seccomp_profile
    from bulkhead.spec import Limits, Server, ServerSpec

    spec = ServerSpec(
        name="doctor",
        server=Server(image="bulkhead/python", command=("python3", "-I", "-c", program)),
        limits=Limits(memory=_MEMORY, pids=_PIDS, tmp=2**20),
    )
    launch = await prepare(spec, engine, seccomp_profile=seccomp_profile("default"), state=state_dir(), say=say)
    return await launch.start()


async def _tried_inside(engine: Engine) -> list[Finding]:
    from bulkhead.engines import probe

    sandbox = await _start(engine, inspect.getsource(probe))
    printed = b""
    with anyio.move_on_after(_PATIENCE):
        async for chunk in sandbox.stdout:
            printed += chunk
    await sandbox.stop(0)
    findings = [Finding(**json.loads(line)) for line in printed.splitlines()]
    missing = [check for check, _ in probe.CHECKS[len(findings) :]]
    return findings + [Finding(check, held=False, said="the check did not finish") for check in missing]


async def _kills_for_memory(engine: Engine) -> Finding:
    sandbox = await _start(engine, _HOG)
    with anyio.move_on_after(_PATIENCE):
        await sandbox.wait()
    await sandbox.stop(0)
    end = await sandbox.wait()
    return Finding("memory limit kills", held=end.cause == "oom", said=f"{_MEMORY >> 20} MiB: {end}")


async def _refuses_processes(engine: Engine) -> Finding:
    sandbox = await _start(engine, _FORKS)
    refused = 0
    with anyio.move_on_after(_PATIENCE):
        while not refused:
            await anyio.sleep(0.1)
            refused = (await sandbox.usage()).pids_refused
    await sandbox.stop(0)
    return Finding("process limit refuses", held=refused > 0, said=f"{_PIDS} processes: {refused} refused")
