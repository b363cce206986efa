"""Runs inside a sandbox, alone with the standard library: tries what must not work, and prints what the kernel said.

One JSON line a check: {"check": text, "held": bool, "said": text}. `bulkhead doctor` starts it as
``python3 -I -c SOURCE``; nothing of Bulkhead is inside.
"""

import ctypes
import errno
import json
import os
import platform
import resource
import socket
import sys
from collections.abc import Callable

# Numbers from the kernel's tables: x86_64, aarch64.
_CALLS = {
    "mount": (165, 40),
    "unshare": (272, 97),
    "setns": (308, 268),
    "ptrace": (101, 117),
    "bpf": (321, 280),
    "keyctl": (250, 219),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "process_vm_readv": (310, 270),
    "init_module": (175, 105),
    "kexec_load": (246, 104),
    "open_by_handle_at": (304, 265),
}
_CLONE_NEWUSER = 0x10000000
_ARGUMENTS = {"unshare": (_CLONE_NEWUSER,), "keyctl": (0, -3, 0), "perf_event_open": (0, 0, -1, -1, 0)}
_REFUSED = (errno.EPERM, errno.ENOSYS)


def _system_call(name: str) -> tuple[bool, str]:
    libc = ctypes.CDLL(None, use_errno=True)
    number = _CALLS[name][0 if platform.machine() == "x86_64" else 1]
    result = libc.syscall(number, *_ARGUMENTS.get(name, (0, 0, 0, 0, 0)))
    code = ctypes.get_errno()
    return result < 0 and code in _REFUSED, errno.errorcode.get(code, str(code)) if result < 0 else "it worked"


def _fails(work: Callable[[], object], *codes: int) -> tuple[bool, str]:
    try:
        work()
    except OSError as error:
        return error.errno in codes, errno.errorcode.get(error.errno or 0, str(error))
    return False, "it worked"


def _status(key: str) -> str:
    with open("/proc/self/status", encoding="ascii") as file:  # noqa: PTH123 - no pathlib: the probe stays small
        return next(line.split(":", 1)[1].strip() for line in file if line.startswith(key + ":"))


def _no_capabilities() -> tuple[bool, str]:
    sets = {key: int(_status(key), 16) for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    return not any(sets.values()), " ".join(f"{key}={value:x}" for key, value in sets.items())


def _interfaces() -> tuple[bool, str]:
    names = [name for _, name in socket.if_nameindex()]
    return names == ["lo"], " ".join(names)


def _route() -> None:
    # Connecting a datagram socket asks for a route and sends nothing.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("198.51.100.1", 443))


def _family(number: int) -> object:
    with socket.socket(number, socket.SOCK_SEQPACKET if number == socket.AF_ALG else socket.SOCK_STREAM) as sock:
        return sock


def _write(path: str) -> object:
    with open(path, "w", encoding="ascii") as file:  # noqa: PTH123
        return file.write("x")


def _execute_from_tmp() -> object:
    path = "/tmp/probe"  # noqa: S108 - the sandbox's own
    _write(path)
    os.chmod(path, 0o700)  # noqa: PTH101
    return os.execv(path, [path])  # noqa: S606


def _fill() -> object:
    with open("/tmp/fill", "wb", buffering=0) as file:  # noqa: PTH123, S108
        try:
            while True:
                file.write(bytes(2**20))
        finally:
            os.unlink("/tmp/fill")  # noqa: PTH108, S108


def _processes() -> tuple[bool, str]:
    others = [pid for pid in os.listdir("/proc") if pid.isdigit()]  # noqa: PTH208
    return len(others) <= 3, f"{len(others)} processes in sight"


def _limit(kind: int, most: int) -> tuple[bool, str]:
    value = resource.getrlimit(kind)[1]
    return 0 <= value <= most, str(value)


CHECKS: tuple[tuple[str, Callable[[], tuple[bool, str]]], ...] = (
    ("not root", lambda: (os.getuid() != 0 and os.getgid() != 0, f"uid {os.getuid()}")),
    ("no capabilities", _no_capabilities),
    ("no new privileges", lambda: (_status("NoNewPrivs") == "1", _status("NoNewPrivs"))),
    ("seccomp filter", lambda: (_status("Seccomp") == "2", f"mode {_status('Seccomp')}")),
    *((f"refused: {name}()", lambda name=name: _system_call(name)) for name in _CALLS),
    ("refused: AF_ALG socket", lambda: _fails(lambda: _family(38), *_REFUSED, errno.EAFNOSUPPORT)),
    ("refused: AF_VSOCK socket", lambda: _fails(lambda: _family(40), *_REFUSED, errno.EAFNOSUPPORT)),
    ("only loopback", _interfaces),
    ("no route out", lambda: _fails(_route, errno.ENETUNREACH)),
    ("read-only root", lambda: _fails(lambda: _write("/usr/probe"), errno.EROFS, errno.EACCES)),
    ("read-only /proc/sys", lambda: _fails(lambda: _write("/proc/sys/kernel/core_pattern"), errno.EROFS, errno.EACCES)),
    ("tmp runs nothing", lambda: _fails(_execute_from_tmp, errno.EACCES)),
    ("tmp is capped", lambda: _fails(_fill, errno.ENOSPC)),
    ("own processes only", _processes),
    ("no core files", lambda: _limit(resource.RLIMIT_CORE, 0)),
    ("open files capped", lambda: _limit(resource.RLIMIT_NOFILE, 2**20)),
)


def main() -> None:
    """Prints one line a check."""
    if os.getuid() == 0:
        sys.exit("this tries to break out of a sandbox, so it runs only as an unprivileged user")
    for check, attempt in CHECKS:
        try:
            held, said = attempt()
        except Exception as error:  # a check that cannot be made is one that does not hold
            held, said = False, repr(error)
        sys.stdout.write(json.dumps({"check": check, "held": held, "said": said}) + "\n")


if __name__ == "__main__":
    main()
