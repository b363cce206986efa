"""`bulkhead doctor` on the real engine: all holds, and a line that does not is told, with exit code 4."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from bulkhead.cli import doctor
from bulkhead.engines import probe
from bulkhead.engines.docker import DockerEngine
from bulkhead.engines.registry import find_endpoint
from tests.conftest import BULKHEAD
from tests.hosts import configs as hosts

if TYPE_CHECKING:
    from collections.abc import Iterator

    import docker

    from bulkhead.cli.doctor import Report
    from bulkhead.engines.base import EngineInfo, Sandbox
    from bulkhead.engines.docker_start import Started
    from bulkhead.engines.hardening import Plan

pytestmark = pytest.mark.engine

ROOT = Path(__file__).resolve().parents[2]
LACK = {"a sandbox without swap": "the kernel was started without swapaccount=1"}
ALLOW_ALL = '{"defaultAction": "SCMP_ACT_ALLOW"}'
REFUSED = {check for _, check, _ in probe.CHECKS if check.startswith(("refused: ", "killed: "))}
# Without a filter these fail all the same: for want of a capability, because the kernel was built without them, and
# the last one because libseccomp adds it to any filter.
OTHERWISE = {
    "refused: mount()", "refused: unshare()", "refused: setns()", "refused: bpf()", "refused: perf_event_open()",
    "refused: init_module()", "refused: kexec_load()", "refused: open_by_handle_at()", "refused: userfaultfd()",
    "refused: keyctl()", "killed: another ABI",
}  # fmt: skip


class Weakened(DockerEngine):
    """Starts plans that lack something; gates: what those of gates have otherwise."""

    def __init__(self, state: Path, *, gates: dict[str, Any] | None = None, **changes: Any) -> None:
        super().__init__(find_endpoint(), state=state)
        self._changes = changes
        self._gates = gates or {}

    def begin(self, plan: Plan) -> Started:
        return super().begin(replace(plan, **self._gates) if plan.network == "gate" else plan)

    async def start(self, plan: Plan) -> Sandbox:
        if plan.network == "gate" or (plan.joins and self._changes.get("joins")):
            return await super().start(plan)  # a probe that left its gate would send to somebody else's address
        tmpfs = tuple(replace(row, **self._changes.get("each_tmpfs", {})) for row in plan.tmpfs)
        changes = {name: value for name, value in self._changes.items() if name != "each_tmpfs"}
        return await super().start(replace(plan, tmpfs=tmpfs, **changes))


class Lacking(DockerEngine):
    """Says of itself that it cannot enforce something."""

    async def probe(self) -> EngineInfo:
        self._info = replace(await super().probe(), lacks=LACK)
        return self._info


def _run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=variables, timeout=120)


def _examined(engine: DockerEngine) -> Report:
    async def examine() -> Report:
        try:
            return await doctor.examine(engine)
        finally:
            await engine.close()

    return anyio.run(examine)


def _broken(report: Report) -> set[str]:
    return {finding.check for finding in report.findings if not finding.held}


def test_all_holds() -> None:
    done = _run(*BULKHEAD, "doctor", "--json")
    assert done.returncode == 0, done
    report = json.loads(done.stdout)
    assert report["held"]
    assert report["warnings"] == []
    assert "docker" in report["about"]
    assert [row for row in report["checks"] if not row["held"]] == []
    assert {(row["group"], row["check"]) for row in report["checks"]} == {
        *((group, check) for group, check, _ in (*probe.CHECKS, *probe.EGRESS)),
        ("limits", "memory"), ("engine", "leaves nothing behind"),
    }  # fmt: skip
    assert all(row["said"] for row in report["checks"])


def test_for_people() -> None:
    done = _run(*BULKHEAD, "doctor")
    count = len(probe.CHECKS) + len(probe.EGRESS) + 2
    assert done.returncode == 0
    assert f"\n{count} of {count} hold. " in done.stdout
    assert "  holds  no capabilities               CapInh=0 CapPrm=0 CapEff=0 CapBnd=0 CapAmb=0\n" in done.stdout
    assert "BROKEN" not in done.stdout


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({"read_only": False}, {"read-only root"}),
        ({"masked_paths": ()}, {"masked /proc and /sys"}),
        ({"readonly_paths": ()}, {"read-only /proc/sys"}),
        ({"each_tmpfs": {"exec": True}}, {"tmp runs nothing"}),
        ({"each_tmpfs": {"size": 2**26}}, {"tmp: bytes"}),
        ({"each_tmpfs": {"inodes": 4096}}, {"tmp: files"}),
        ({"open_files": 4096}, {"open files"}),
        ({"memory": 2**29}, {"memory"}),
        ({"memory": 2**29, "pids": 1024}, {"memory", "processes"}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_a_plan_lacks_is_told(tmp_path: Path, changes: dict[str, Any], broken: set[str]) -> None:
    assert _broken(_examined(Weakened(tmp_path, **changes))) == broken


def test_a_missing_filter_is_told(tmp_path: Path) -> None:
    broken = _broken(_examined(Weakened(tmp_path, seccomp=ALLOW_ALL)))
    assert REFUSED - broken <= OTHERWISE
    assert broken <= REFUSED


@pytest.fixture
def on_a_bridge(daemon: docker.DockerClient) -> Iterator[str]:
    """The id of what a sandbox can join to have Docker's usual network."""
    name = f"doctor-tests-{secrets.token_hex(4)}"
    command = ["python3", "-c", "import signal; signal.pause()"]
    container = daemon.containers.run("bulkhead/gate", command, name=f"bulkhead-{name}", detach=True, init=True)
    try:
        yield name
    finally:
        container.remove(force=True)


def test_a_network_is_told(tmp_path: Path, on_a_bridge: str) -> None:
    broken = _broken(_examined(Weakened(tmp_path, joins=on_a_bridge)))
    assert {"only loopback", "no route out"} <= broken <= {"only loopback", "no route out", "no names"}


def test_a_gate_that_does_not_start_is_told(tmp_path: Path) -> None:
    report = _examined(Weakened(tmp_path, gates={"capabilities": ("SETGID", "SETUID")}))
    [broken] = [finding for finding in report.findings if not finding.held]
    assert (broken.group, broken.check) == ("egress", "starts a gate")
    assert "the route cannot be set" in broken.said


def test_a_server_that_does_not_join_its_gate_is_told(tmp_path: Path) -> None:
    behind_a_gate = {check for _, check, _ in probe.EGRESS}
    held = {"behind it: only loopback", "behind it: no capabilities"}
    assert _broken(_examined(Weakened(tmp_path, joins=""))) == behind_a_gate - held


def test_as_root_nothing_is_tried_and_nothing_holds(tmp_path: Path) -> None:
    report = _examined(Weakened(tmp_path, uid=0, gid=0))
    assert {check for _, check, _ in (*probe.CHECKS, *probe.EGRESS)} <= _broken(report)
    assert {finding.said for finding in report.findings if finding.group == "kernel"} == {"was not finished"}


def test_what_the_engine_cannot_enforce_is_told(tmp_path: Path) -> None:
    report = _examined(Lacking(find_endpoint(), state=tmp_path))
    assert [(finding.check, finding.held) for finding in report.findings] == [
        ("can enforce a sandbox without swap", False),
        ("starts a sandbox", False),
    ]
    assert "swapaccount=1" in report.findings[0].said


def test_a_secret_in_the_environment_is_warned_of(tmp_path: Path) -> None:
    servers = tmp_path / "bulkhead/servers"
    servers.mkdir(parents=True)
    table = '[[secrets]]\nname = "TOKEN"\nfrom = "env:TOKEN"\nuse = "env"\n'
    (servers / "github.toml").write_text(f'[server]\npackage = "npm:server@1.0.0"\n{table}', encoding="utf-8")
    done = _run(*BULKHEAD, "doctor", XDG_CONFIG_HOME=str(tmp_path))
    assert done.returncode == 0, done
    said = 'warning: github: TOKEN has use = "env": the value is in the server\'s environment for its whole life'
    assert done.stdout.splitlines()[-1].startswith(said)
    [warning] = json.loads(_run(*BULKHEAD, "doctor", "--json", XDG_CONFIG_HOME=str(tmp_path)).stdout)["warnings"]
    assert warning.startswith(said.removeprefix("warning: "))


def test_a_secret_in_a_hosts_configuration_is_told(tmp_path: Path) -> None:
    path = hosts.write(tmp_path, "cursor")
    done = _run(*BULKHEAD, "doctor", HOME=str(tmp_path))
    assert done.returncode == 0, done
    name = "GITHUB_PERSONAL_ACCESS_TOKEN"
    place, what, hint = done.stdout.partition("\nhost configurations\n")[2].splitlines()[:3]
    assert (place, what) == (f"{path}:9", f"  github: {name} looks like a secret, by its name")
    assert f"`bulkhead secrets set {name}`" in hint
    assert hosts.TOKEN not in done.stdout
    [row] = json.loads(_run(*BULKHEAD, "doctor", "--json", HOME=str(tmp_path)).stdout)["hosts"]
    assert (row["path"], row["line"], row["variable"]) == (str(path), 9, name)


WEAKENED = """
import sys
from bulkhead.cli import main
from bulkhead.engines import registry
from tests.cli.test_doctor import Weakened

def weakened(_, *, state, runner):
    return Weakened(state, read_only=False)

registry.open_engine = weakened
sys.exit(main(["doctor", *sys.argv[1:]]))
"""


def test_a_broken_line_leaves_with_4() -> None:
    done = _run(sys.executable, "-c", WEAKENED)
    assert done.returncode == 4, done
    line = next(line for line in done.stdout.splitlines() if "BROKEN" in line)
    assert line.startswith("  BROKEN read-only root ")
    assert line.endswith(" /var/tmp: it worked")
    count = len(probe.CHECKS) + len(probe.EGRESS) + 2
    assert f"{count - 1} of {count} hold. The others are not enforced here.\n" in done.stdout
    assert not json.loads(_run(sys.executable, "-c", WEAKENED, "--json").stdout)["held"]


def test_no_engine_leaves_with_4(tmp_path: Path) -> None:
    done = _run(*BULKHEAD, "doctor", DOCKER_HOST=f"unix://{tmp_path}/no.sock")
    assert (done.returncode, done.stdout) == (4, "")
    assert "does not answer" in done.stderr


@pytest.mark.parametrize("user", [0, 65534], ids=["root", "nobody"])
def test_the_probe_does_nothing_outside_of_a_sandbox(user: int) -> None:
    """Takes root, to be somebody else."""
    program = probe.source().replace("\n\nmain(CHECKS)\n", f"\n\nos.setuid({user})\nmain(CHECKS)\n")
    done = _run(sys.executable, "-I", "-c", program)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "this tries to break out of a sandbox, and runs nowhere else\n"


def test_the_probe_is_no_program() -> None:
    done = _run(sys.executable, "-I", str(Path(probe.__file__)))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
