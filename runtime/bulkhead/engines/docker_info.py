"""What a daemon says that it can enforce, out of its ``/info``. PURE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bulkhead.engines.base import EngineInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

# A field of /info that is false, what a Plan then lacks, and what makes it true.
_NEEDED = {
    "MemoryLimit": ("a memory limit", "its cgroup has no memory controller"),
    "SwapLimit": ("a sandbox without swap", "the kernel was started without swapaccount=1"),
    "PidsLimit": ("a limit of processes", "its cgroup has no pids controller"),
    "CpuCfsQuota": ("a CPU limit", "its cgroup has no CPU quota"),
}

# Tried on Podman 4.3: it refuses these lines of every Plan, and /info does not tell.
_PODMAN = {
    "a cap of inodes": "Podman's version of Docker's API refuses nr_inodes for a tmpfs",
    "a seccomp filter of ours": "Podman's version of Docker's API takes a filter only from a file of its own",
}


def engine_info(info: Mapping[str, Any], endpoint: str, kernel: str) -> EngineInfo:
    """From the answer to ``GET /info``; kernel is this machine's release, which a daemon elsewhere has not."""
    options = [option for text in info.get("SecurityOptions") or () for option in text.split(",")]
    return EngineInfo(
        name="podman" if _is_podman(info) else "docker",
        version=str(info.get("ServerVersion", "")),
        endpoint=endpoint,
        rootless="name=rootless" in options or bool(info.get("Rootless")),
        remote=info.get("OperatingSystem") == "Docker Desktop" or info.get("KernelVersion") != kernel,
        runtimes=tuple(info.get("Runtimes") or ()),
        lacks=_lacks(info, options),
    )


def _is_podman(info: Mapping[str, Any]) -> bool:
    return "BuildahVersion" in info


def _lacks(info: Mapping[str, Any], options: list[str]) -> dict[str, str]:
    if info.get("OSType") != "linux":
        return {"a Linux sandbox": f"it runs {info.get('OSType', 'unknown')} containers"}
    lacks = {what: why for field, (what, why) in _NEEDED.items() if not info.get(field)}
    if _is_podman(info):
        lacks |= _PODMAN
    if "name=seccomp" not in options:
        lacks["a seccomp filter"] = "its kernel or its runtime was built without seccomp"
    return lacks
