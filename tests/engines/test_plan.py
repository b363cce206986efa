"""The translation of a Plan to Docker: every line of it, and what is refused. No engine takes part."""

from __future__ import annotations

from typing import Any

import pytest

from bulkhead.engines.base import EngineInfo, refuse_plan
from bulkhead.engines.docker_info import engine_info
from bulkhead.engines.docker_plan import container_config, refuse_image
from bulkhead.engines.hardening import MASKED_PATHS, READONLY_PATHS, Bind, Plan, Tmpfs
from bulkhead.errors import UnenforceableError
from tests.engines.conftest import make_plan

DIGEST = "sha256:" + "a" * 64


def plan(**changes: Any) -> Plan:
    fields: dict[str, Any] = {
        "id": "time-1",
        "env": {"PATH": "/usr/bin", "HOME": "/home/bulkhead"},
        "working_dir": "/work",
        "uid": 1000,
        "gid": 1001,
        "seccomp": '{"defaultAction":"SCMP_ACT_ERRNO"}',
        "cpus": 1.5,
        "memory": 2**29,
        "pids": 128,
        "open_files": 1024,
        "tmpfs": (
            Tmpfs("/home/bulkhead", 2**26, 4096, mode=0o700),
            Tmpfs("/dev/shm", 2**16, 256, exec=True),  # noqa: S108
        ),
        "binds": (Bind("/srv/notes", "/notes", write=False), Bind("/srv/out", "/out", write=True)),
    }
    return make_plan(DIGEST)("--flag", **fields | changes)


FILES = (Bind("/srv/hosts", "/etc/hosts", write=False), Bind("/srv/accounts/time-1", "/etc/passwd", write=False))


def test_every_line_of_the_container() -> None:
    assert container_config(plan(), {"bulkhead.sandbox": "time-1"}, FILES) == {
        "NetworkDisabled": True,
        "Image": DIGEST,
        "Entrypoint": [],
        "Cmd": ["/behaviour", "--flag"],
        "Env": ["PATH=/usr/bin", "HOME=/home/bulkhead"],
        "WorkingDir": "/work",
        "User": "1000:1001",
        "Labels": {"bulkhead.sandbox": "time-1"},
        "Hostname": "bulkhead",
        "Domainname": "",
        "Healthcheck": {"Test": ["NONE"]},
        "StopSignal": "SIGTERM",
        "Tty": False,
        "OpenStdin": True,
        "StdinOnce": True,
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "HostConfig": {
            "Runtime": "",
            "Init": True,
            "AutoRemove": False,
            "RestartPolicy": {"Name": "no"},
            "LogConfig": {"Type": "none", "Config": {}},
            "Privileged": False,
            "CapDrop": ["ALL"],
            "CapAdd": [],
            "SecurityOpt": ["no-new-privileges:true", 'seccomp={"defaultAction":"SCMP_ACT_ERRNO"}'],
            "ReadonlyRootfs": True,
            "MaskedPaths": list(MASKED_PATHS),
            "ReadonlyPaths": list(READONLY_PATHS),
            "IpcMode": "none",
            "PidMode": "",
            "UTSMode": "",
            "UsernsMode": "",
            "CgroupnsMode": "private",
            "CgroupParent": "",
            "Devices": [],
            "DeviceCgroupRules": [],
            "DeviceRequests": [],
            "GroupAdd": [],
            "Sysctls": {},
            "Memory": 2**29,
            "MemorySwap": 2**29,
            "OomKillDisable": False,
            "PidsLimit": 128,
            "CpuPeriod": 100_000,
            "CpuQuota": 150_000,
            "Ulimits": [
                {"Name": "nofile", "Soft": 1024, "Hard": 1024},
                {"Name": "core", "Soft": 0, "Hard": 0},
            ],
            "Tmpfs": {
                "/home/bulkhead": (
                    "rw,nosuid,nodev,noexec,size=67108864,nr_inodes=4096,mode=700,uid=1000,gid=1001"  # the cap of both
                ),
                "/dev/shm": "rw,nosuid,nodev,exec,size=65536,nr_inodes=256,mode=1777,uid=1000,gid=1001",  # noqa: S108
            },
            "Mounts": [
                {
                    "Type": "bind",
                    "Source": "/srv/hosts",
                    "Target": "/etc/hosts",
                    "ReadOnly": True,
                    "BindOptions": {"Propagation": "private", "NonRecursive": True},
                },
                {
                    "Type": "bind",
                    "Source": "/srv/accounts/time-1",
                    "Target": "/etc/passwd",
                    "ReadOnly": True,
                    "BindOptions": {"Propagation": "private", "NonRecursive": True},
                },
                {
                    "Type": "bind",
                    "Source": "/srv/notes",
                    "Target": "/notes",
                    "ReadOnly": True,
                    "BindOptions": {"Propagation": "private", "NonRecursive": True},
                },
                {
                    "Type": "bind",
                    "Source": "/srv/out",
                    "Target": "/out",
                    "ReadOnly": False,
                    "BindOptions": {"Propagation": "private", "NonRecursive": True},
                },
            ],
            "Binds": [],
            "VolumesFrom": [],
            "ExtraHosts": [],
            "Links": [],
            "PortBindings": {},
            "PublishAllPorts": False,
            "NetworkMode": "none",
        },
    }


@pytest.mark.parametrize("network", ["none", "gate"])
def test_where_the_daemon_sees_no_file_of_ours_it_writes_the_names(network: str) -> None:
    config = container_config(plan(network=network), {})
    assert not config["NetworkDisabled"]
    names = {"Dns": ["127.0.0.1"], "DnsSearch": ["."], "DnsOptions": []}
    assert names.items() <= config["HostConfig"].items()
    assert [mount["Target"] for mount in config["HostConfig"]["Mounts"]] == ["/notes", "/out"]


def test_who_joins_a_gate_has_its_network() -> None:
    assert not container_config(plan(joins="gate-time-1"), {}, FILES)["NetworkDisabled"]


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"runtime": "runsc"}, "Runtime", "runsc"),
        ({"capabilities": ("NET_ADMIN",)}, "CapAdd", ["NET_ADMIN"]),
        ({"read_only": False}, "ReadonlyRootfs", False),
        ({"network": "gate"}, "NetworkMode", "none"),
        ({"network": "gate"}, "Init", False),
        ({"joins": "time-1-gate"}, "NetworkMode", "container:bulkhead-time-1-gate"),
        ({"joins": "time-1-gate"}, "Dns", None),
        ({"joins": "time-1-gate"}, "Init", True),
        ({"cpus": 0.001}, "CpuQuota", 1000),
        ({"masked_paths": ("/proc/x",)}, "MaskedPaths", ["/proc/x"]),
        ({"readonly_paths": ("/proc/y",)}, "ReadonlyPaths", ["/proc/y"]),
    ],
)
def test_fields_that_differ(changes: dict[str, Any], field: str, value: Any) -> None:
    assert container_config(plan(**changes), {}, FILES)["HostConfig"].get(field) == value


def test_who_joins_a_gate_has_its_name() -> None:
    assert container_config(plan(joins="time-1-gate"), {})["Hostname"] == ""


REPLACED = {
    "Cmd": ["sh"],
    "Entrypoint": ["/bin/sh"],
    "User": "0",
    "WorkingDir": "/root",
    "StopSignal": "SIGKILL",
    "Healthcheck": {"Test": ["CMD", "true"]},
    "Hostname": "h",
}


@pytest.mark.parametrize(
    "config",
    [None, {}, {"Env": None, "Volumes": None, "Labels": None}, REPLACED, {"Env": ["PATH=/evil"]}],
    ids=["none", "empty", "nulls", "replaced", "overridden-variable"],
)
def test_images_whose_settings_take_no_effect(config: dict[str, Any] | None) -> None:
    refuse_image(plan(), config)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"Env": ["PATH=/bin", "LD_PRELOAD=/x.so"]}, "Env LD_PRELOAD"),
        ({"Volumes": {"/data": {}}}, "Volumes"),
        ({"OnBuild": ["RUN x"]}, "OnBuild"),
        ({"ExposedPorts": {"80/tcp": {}}}, "ExposedPorts"),
        ({"Labels": {"com.example": "x", "bulkhead.image": "y"}}, "Labels com.example"),
        ({"SomethingNew": True}, "SomethingNew"),
    ],
)
def test_images_that_bring_settings(config: dict[str, Any], named: str) -> None:
    with pytest.raises(UnenforceableError) as caught:
        refuse_image(plan(), config)
    assert caught.value.why == f"its configuration has {named}"


KERNEL = "6.1.0"
INFO = {
    "OSType": "linux",
    "KernelVersion": KERNEL,
    "MemoryLimit": True,
    "SwapLimit": True,
    "PidsLimit": True,
    "CpuCfsQuota": True,
    "SecurityOptions": ["name=apparmor", "name=seccomp,profile=default"],
    "ServerVersion": "20.10.24",
    "Runtimes": {"runc": {}},
}


def test_an_engine_that_lacks_nothing() -> None:
    info = engine_info(INFO, "unix:///x", KERNEL)
    assert info == EngineInfo("docker", "20.10.24", "unix:///x", runtimes=("runc",))
    refuse_plan(plan(), info)


@pytest.mark.parametrize(
    ("changes", "lacking"),
    [
        ({"MemoryLimit": False}, "a memory limit"),
        ({"SwapLimit": False}, "a sandbox without swap"),
        ({"PidsLimit": False}, "a limit of processes"),
        ({"CpuCfsQuota": False}, "a CPU limit"),
        ({"SecurityOptions": ["name=apparmor"]}, "a seccomp filter"),
        ({"SecurityOptions": None}, "a seccomp filter"),
        ({"OSType": "windows"}, "a Linux sandbox"),
    ],
)
def test_an_engine_that_cannot_enforce(changes: dict[str, Any], lacking: str) -> None:
    info = engine_info(INFO | changes, "unix:///x", KERNEL)
    assert list(info.lacks) == [lacking]
    with pytest.raises(UnenforceableError, match=lacking):
        refuse_plan(plan(), info)


def test_podman_is_refused_with_the_reason() -> None:
    info = engine_info(INFO | {"BuildahVersion": "1.28.2", "Rootless": True}, "unix:///x", KERNEL)
    assert (info.name, info.rootless) == ("podman", True)
    assert list(info.lacks) == ["a cap of inodes", "a seccomp filter of ours"]
    with pytest.raises(UnenforceableError, match="podman cannot enforce a cap of inodes here"):
        refuse_plan(plan(), info)


@pytest.mark.parametrize("changes", [{"KernelVersion": "6.6.0-vm"}, {"OperatingSystem": "Docker Desktop"}])
def test_a_daemon_elsewhere_is_told(changes: dict[str, Any]) -> None:
    assert engine_info(INFO | changes, "", KERNEL).remote
    assert not engine_info(INFO, "", KERNEL).remote


def test_rootless_is_told() -> None:
    assert engine_info(INFO | {"SecurityOptions": ["name=seccomp", "name=rootless"]}, "", KERNEL).rootless
