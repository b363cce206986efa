"""Reads a seccomp profile and refuses one that is no allow-list: a profile may be the user's own, and is a file.

What load() returns is written anew from what was checked. Docker reads JSON without regard to case and takes the last
of two equal keys, so a key that this file does not know could say something else to Docker than to us.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bulkhead.errors import ProfileError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The ABI that a kernel calls its own. Another one (i386, x32, 32-bit Arm) has other numbers and socketcall.
NATIVE = frozenset({"SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"})
REFUSES = frozenset(
    {"SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"}
)
PERMITS = frozenset({"SCMP_ACT_ALLOW", "SCMP_ACT_LOG"})
NEVER = {
    "it reaches into another process": "ptrace process_vm_readv process_vm_writev process_madvise pidfd_getfd kcmp",
    "it makes or enters a namespace": "unshare setns clone3",
    "it changes what is mounted": (
        "mount umount2 pivot_root chroot open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr"
    ),
    "it opens files past the mounts": "open_by_handle_at",
    "it runs calls past the filter": "io_uring_setup io_uring_enter io_uring_register",
    "it changes or reads the kernel": (
        "bpf perf_event_open userfaultfd init_module finit_module delete_module kexec_load kexec_file_load syslog"
    ),
    "keyrings are not the sandbox's own": "add_key request_key keyctl",
    "it acts on the whole machine": (
        "reboot swapon swapoff settimeofday clock_settime iopl ioperm acct quotactl quotactl_fd fanotify_init"
    ),
}
_WHY = {name: why for why, names in NEVER.items() for name in names.split()}
_TOP = frozenset({"defaultAction", "defaultErrnoRet", "archMap", "architectures", "syscalls"})
_RULE = frozenset({"names", "name", "action", "errnoRet", "args", "comment", "includes", "excludes"})
_HINT = "docs/seccomp.md tells how to write a profile of your own; start from a copy of the default"


def load(path: Path) -> str:
    """A profile's JSON in Docker's format. Raises ProfileError for what is no allow-list of the native ABI."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProfileError(f"{path}: the seccomp profile cannot be read", why=str(error), hint=_HINT) from error
    except ValueError as error:
        raise ProfileError(f"{path}: the seccomp profile is not JSON", why=str(error), hint=_HINT) from error
    for fault in _faults(document):
        raise ProfileError(f"{path}: the seccomp profile is refused", why=fault, hint=_HINT)
    return json.dumps(document, separators=(",", ":"))


def _faults(document: Any) -> Iterator[str]:
    """Every reason to refuse, in the file's order."""
    if not isinstance(document, dict) or not _lists(document, "syscalls", "archMap", "architectures"):
        yield "it is not an object whose syscalls and archMap are lists"
        return
    yield from (f"key {key!r} is not known" for key in document.keys() - _TOP)
    if (default := document.get("defaultAction")) not in REFUSES:
        yield f"defaultAction {default!r} permits what no rule names; take SCMP_ACT_ERRNO"
    yield from _foreign(document)
    for place, rule in enumerate(document.get("syscalls", []), 1):
        yield from (f"rule {place}: {fault}" for fault in _rule_faults(rule))


def _lists(found: dict[str, Any], *keys: str) -> bool:
    return all(isinstance(found.get(key, []), list) for key in keys)


def _foreign(document: dict[str, Any]) -> Iterator[str]:
    names = list(document.get("architectures", []))
    for entry in document.get("archMap", []):
        if not isinstance(entry, dict) or entry.keys() - {"architecture", "subArchitectures"}:
            yield f"archMap: {entry!r} is not an architecture"
            continue
        names += [entry.get("architecture"), *(entry.get("subArchitectures") or ())]
    yield from (f"architecture {name!r} is not a native one ({', '.join(sorted(NATIVE))})" for name in names
                if not isinstance(name, str) or name not in NATIVE)  # fmt: skip


def _rule_faults(rule: Any) -> Iterator[str]:
    if not isinstance(rule, dict) or not _lists(rule, "names"):
        yield "it is not an object whose names are a list"
        return
    yield from (f"key {key!r} is not known" for key in rule.keys() - _RULE)
    action = rule.get("action")
    if action not in REFUSES | PERMITS:
        yield f"action {action!r} is not one of {', '.join(sorted(REFUSES | PERMITS))}"
    if action in PERMITS:
        names = [str(name) for name in (*rule.get("names", []), rule.get("name", ""))]
        yield from (f"{name} is never allowed: {_WHY[name]}" for name in names if name in _WHY)
        if "clone" in names and not rule.get("args"):
            yield "clone is allowed only with a condition on its flags: it makes namespaces"
