"""Builds the probes (tests/security/probes) and runs them in a real sandbox, started from a Plan like any server."""

from __future__ import annotations

import io
import json
import secrets
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from bulkhead.engines import seccomp
from bulkhead.engines.hardening import plan_for
from bulkhead.spec import Mount, Server, ServerSpec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bulkhead.engines.base import Engine, Sandbox
    from bulkhead.engines.hardening import Plan

PROFILE = Path(__file__).parents[2] / "profiles/seccomp/default.json"
IMAGE = "bulkhead/test-probes"
SOURCES = sorted((Path(__file__).parent / "probes").glob("*.c"))

Findings = dict[str, dict[str, str]]


def compiled(folder: Path) -> Path:
    """The probes as one static program, which runs in an image without anything in it."""
    program = folder / "probe"
    flags = ["-static", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["gcc", *flags, "-o", str(program), *map(str, SOURCES)], check=True)
    program.chmod(0o755)
    folder.chmod(0o755)
    return program


async def empty_image(engine: Engine) -> str:
    """The digest of an image of nothing but the folders that a runtime mounts over."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("dev", "etc", "home", "probes", "proc", "root", "sys", "tmp", "usr", "work"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o700 if name == "root" else 0o755
            tar.addfile(entry)

    async def chunks() -> AsyncIterator[bytes]:
        yield buffer.getvalue()

    return (await engine.images.load(IMAGE, chunks(), {})).digest


def plan(folder: Path, image: str, *command: str) -> Plan:
    """The Plan of a server whose only file is a program in folder."""
    spec = ServerSpec(
        name="probes",
        server=Server(image=IMAGE, command=command),
        mounts=(Mount(source=str(folder), target="/probes"),),
    )
    return plan_for(
        spec,
        sandbox_id=secrets.token_hex(6),
        image_digest=image,
        image_command=(),
        seccomp=seccomp.load(PROFILE),
        owners={str(folder): (0, 0)},
    )


async def findings(sandbox: Sandbox) -> Findings:
    """What each probe found, by its name; see probes/main.c."""
    output = b"".join([chunk async for chunk in sandbox.stdout])
    ended = await sandbox.wait()
    assert str(ended) == "exited 0", output
    return {found["probe"]: found for found in map(json.loads, output.splitlines())}
