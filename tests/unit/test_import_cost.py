"""What `bulkhead run` imports on its way to a session: a host waits for it, and its memory stays for the session."""

from __future__ import annotations

import subprocess
import sys

import pytest

# mcp: 1.2 s and 64 MB. docker, with requests: 0.1 s and 13 MB, where images are made. The others: only where they are
# configured, or for the commands of a person.
HEAVY = (
    "mcp",
    "docker",
    "requests",
    "rich",
    "opentelemetry",
    "psutil",
    "pydantic",
    "httpx",
    "hypothesis",
    "pytest",
    "importlib.metadata",
)
PATH = [
    "bulkhead.relay",
    "bulkhead.stdio",
    "bulkhead.serverlog",
    "bulkhead.spec",
    "bulkhead.launch",
    "bulkhead.telemetry",
    "bulkhead.engines.docker",
    "bulkhead.engines.registry",
    "bulkhead.cli.run",
    "bulkhead.cli.serve",
]


def loaded(code: str) -> set[str]:
    program = f"import sys\n{code}\nprint(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", PATH)
def test_the_way_of_run_is_light(module: str) -> None:
    modules = loaded(f"import {module}")
    assert module in modules
    assert [name for name in HEAVY if name in modules] == []


def test_a_container_is_started_before_there_is_an_event_loop() -> None:
    early = ("cli.early", "config", "egress.beginning", "engines.registry", "launch")
    modules = loaded("\n".join(f"import bulkhead.{name}" for name in early))
    assert [name for name in ("anyio", "asyncio", "logging") if name in modules] == []


def test_the_pure_core_imports_no_io() -> None:
    modules = loaded("import bulkhead.wire.session, bulkhead.wire.broken, bulkhead.wire.context, bulkhead.policy.chain")
    assert [name for name in ("anyio", "asyncio", "socket", "subprocess", "docker") if name in modules] == []


def test_recording_imports_no_sdk_until_it_is_told_to() -> None:
    code = (
        "from pathlib import Path\n"
        "from bulkhead.telemetry import Telemetry, TelemetrySettings\n"
        "recorder = Telemetry(TelemetrySettings(file=False), resource={}, state=Path('/nonexistent'))\n"
        "recorder.begin('tools/call', request_id=1).end()\n"
        "recorder.close()"
    )
    assert [name for name in loaded(code) if name.startswith("opentelemetry")] == []
