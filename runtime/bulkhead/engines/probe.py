"""Runs inside a sandbox, alone with the standard library: tries what must not work, and prints what the kernel said.

One JSON line a check: {"group": text, "check": text, "held": bool, "said": text}. `bulkhead doctor` starts source() as
``python3 -I -c``: once without a network, and once behind a gate that lets ALLOWED through and nothing else. Nothing of
Bulkhead is inside. It is never run anywhere else: the module alone does nothing, main() goes no further where it is not
in a sandbox, and what it takes is bounded even where no limit is.
"""

import ctypes
import errno
import fcntl
import inspect
import json
import os
import platform
import resource
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial

Checks = tuple[tuple[str, str, Callable[[], tuple[bool, str]]], ...]  # group, check, attempt

# What the sandbox behind a gate may reach. It is never connected to: the gate's DNS alone is asked for the name.
ALLOWED = ("example.org", 443)

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
# A family, and a kind that the kernel knows in it: a filter's EPERM is not a family's EPROTONOSUPPORT.
_FAMILIES = {
    "AF_ALG": (38, socket.SOCK_SEQPACKET),
    "AF_VSOCK": (40, socket.SOCK_STREAM),
    "AF_KEY": (15, socket.SOCK_RAW),
}
_TIOCSTI = 0x5412
_FOLDERS = ("/", "/etc", "/usr", "/usr/bin", "/opt", "/var", "/var/tmp")  # noqa: S108
_MASKED = (
    "/proc/cmdline", "/proc/kallsyms", "/proc/kcore", "/proc/keys", "/proc/kmsg", "/proc/modules", "/proc/pressure",
    "/proc/slabinfo", "/proc/sysrq-trigger", "/proc/timer_list", "/proc/vmallocinfo", "/sys/firmware", "/sys/kernel",
)  # fmt: skip
_OF_THE_HOST = ("AWS_", "DOCKER_", "GITHUB_", "KUBERNETES_", "SSH_", "SUDO_", "XDG_RUNTIME_DIR")

# In a sandbox the init is process 1 and the engine's runtime took a few before the server.
_FIRST_PIDS = 100
# What is tried at most of files, descriptors and pieces of 16 KiB, where no limit stops it.
_MOST = 2048


def _system_call(name: str) -> tuple[bool, str]:
    """In a process of its own: one that the kernel lets be traced, or that is elsewhere, can try nothing further."""
    child = os.fork()
    if child == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        number = _CALLS[name][0 if platform.machine() == "x86_64" else 1]
        result = libc.syscall(number, *_ARGUMENTS.get(name, (0, 0, 0, 0, 0)))
        os._exit(ctypes.get_errno() if result < 0 else 0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code in _REFUSED, errno.errorcode.get(code, str(code)) if code else "it worked"


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


def _no_names() -> tuple[bool, str]:
    try:
        return False, str(socket.getaddrinfo("example.org", 443)[0][4][0])
    except socket.gaierror as error:
        return True, str(error)


def _caught() -> tuple[bool, str]:
    """What is allowed leads to the gate: an address that nobody on the internet has."""
    address = socket.gethostbyname(ALLOWED[0])
    return address.startswith(("198.18.", "198.19.")), address


def _no_other_name() -> tuple[bool, str]:
    """The gate's answer is that there is none; without a gate there would be no answer."""
    try:
        return False, socket.gethostbyname("example.net")
    except socket.gaierror as error:
        return error.errno in (socket.EAI_NONAME, socket.EAI_NODATA), str(error)


def _reach(kind: socket.SocketKind, port: int) -> None:
    """An address for documentation, in no rule. A gate takes what comes to an allowed port, and resets it."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.settimeout(5)
        sock.connect(("198.51.100.1", port))
        sock.send(b"out")
        sock.recv(1)


def _family(name: str) -> tuple[bool, str]:
    return _fails(lambda: socket.socket(*_FAMILIES[name]).close(), *_REFUSED)


def _other_abi() -> tuple[bool, str]:
    """An x32 call, which a kernel without x32 refuses with ENOSYS if the filter lets it through."""
    child = os.fork()
    if child == 0:
        ctypes.CDLL(None).syscall(0x40000000 | 39)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    ended = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "it was let through"
    return ended == "SIGSYS", ended


def _typed() -> object:
    return fcntl.ioctl(0, _TIOCSTI, b"x")


def _write(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o700))


def _read_only_root() -> tuple[bool, str]:
    said = {folder: _fails(partial(_write, f"{folder}/probe"), errno.EROFS) for folder in _FOLDERS}
    wrong = [f"{folder}: {why}" for folder, (held, why) in said.items() if not held]
    return not wrong, ", ".join(wrong) or "EROFS"


def _read_only_settings() -> tuple[bool, str]:
    return bool(os.statvfs("/proc/sys/kernel").f_flag & os.ST_RDONLY), "/proc/sys"


def _masked() -> tuple[bool, str]:
    shown = [path for path in _MASKED if _shows(path)]
    return not shown, ", ".join(shown) or f"{len(_MASKED)} paths are empty or not there"


def _shows(path: str) -> bool:
    """Whether a file has a byte, or a folder an entry."""
    try:
        if os.path.isdir(path):  # noqa: PTH112 - no pathlib: the probe stays small
            return bool(os.listdir(path))  # noqa: PTH208
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    with os.fdopen(file, "rb", buffering=0) as opened:
        return bool(opened.read(1))


def _execute_from_tmp() -> None:
    _write("/tmp/probe")  # noqa: S108 - the sandbox's own
    os.execv("/tmp/probe", ["probe"])  # noqa: S108, S606


def _until_full() -> None:
    file = os.open("/tmp/fill", os.O_WRONLY | os.O_CREAT, 0o600)  # noqa: S108
    try:
        for _ in range(_MOST):
            os.write(file, bytes(16384))
    finally:
        os.close(file)
        os.unlink("/tmp/fill")  # noqa: PTH108, S108


def _until_no_inode() -> None:
    made: list[str] = []
    try:
        for number in range(_MOST):
            _write(f"/tmp/empty-{number}")  # noqa: S108
            made.append(f"/tmp/empty-{number}")  # noqa: S108
    finally:
        for path in made:
            os.unlink(path)  # noqa: PTH108


def _until_no_process() -> None:
    children: list[int] = []
    try:
        for _ in range(_MOST // 4):
            child = os.fork()
            if child == 0:
                signal.pause()
            children.append(child)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _until_no_descriptor() -> None:
    last = 2
    try:
        while last < _MOST:
            last = os.open("/dev/null", os.O_RDONLY)
    finally:
        os.closerange(3, last + 1)


def _processes() -> tuple[bool, str]:
    seen = [pid for pid in os.listdir("/proc") if pid.isdigit()]  # noqa: PTH208
    return len(seen) == 2, f"{len(seen)} processes in sight"


def _only_stdio() -> tuple[bool, str]:
    held = sorted(int(fd) for fd in os.listdir("/proc/self/fd"))  # noqa: PTH208
    return held == [0, 1, 2, 3], f"{len(held) - 1} files are open"  # the last one is that of the listing


def _cgroup(*paths: str) -> str:
    """The first of the files that is there; version 1 and version 2 have others."""
    for path in paths:
        try:
            with open(f"/sys/fs/cgroup/{path}", encoding="ascii") as file:  # noqa: PTH123
                return file.read().split()[0]
        except FileNotFoundError:
            continue
    return "not told"


def _no_swap() -> tuple[bool, str]:
    """Version 1 has the sum of memory and swap, version 2 swap alone."""
    both, memory = _cgroup("memory/memory.memsw.limit_in_bytes"), _cgroup("memory/memory.limit_in_bytes")
    swap = _cgroup("memory.swap.max") if both == "not told" else str(int(both) - int(memory))
    return swap == "0", swap


def _processors() -> tuple[bool, str]:
    quota = _cgroup("cpu/cpu.cfs_quota_us", "cpu.max")
    return quota.isdigit(), f"{quota} us of a period"


def _no_core() -> tuple[bool, str]:
    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    return most == 0, str(most)


def _environment() -> tuple[bool, str]:
    names = [name for name in os.environ if name.startswith(_OF_THE_HOST)]
    return not names, " ".join(names) or f"{len(os.environ)} variables, none of the host's"


CHECKS: Checks = (
    ("identity", "not root", lambda: (os.getuid() != 0 and os.getgid() != 0, f"uid {os.getuid()}")),
    ("identity", "no capabilities", _no_capabilities),
    ("identity", "no new privileges", lambda: (_status("NoNewPrivs") == "1", _status("NoNewPrivs"))),
    ("identity", "own processes only", _processes),
    ("identity", "no file but stdio", _only_stdio),
    ("identity", "no variable of the host", _environment),
    ("kernel", "seccomp filter", lambda: (_status("Seccomp") == "2", f"mode {_status('Seccomp')}")),
    *(("kernel", f"refused: {name}()", lambda name=name: _system_call(name)) for name in _CALLS),
    *(("kernel", f"refused: {name} socket", lambda name=name: _family(name)) for name in _FAMILIES),
    ("kernel", "refused: typing (TIOCSTI)", lambda: _fails(_typed, *_REFUSED)),
    *((("kernel", "killed: another ABI", _other_abi),) if platform.machine() == "x86_64" else ()),
    ("files", "read-only root", _read_only_root),
    ("files", "read-only /proc/sys", _read_only_settings),
    ("files", "masked /proc and /sys", _masked),
    ("files", "no socket of the engine", lambda: _fails(lambda: os.stat("/run/docker.sock"), errno.ENOENT)),  # noqa: PTH116
    ("files", "tmp runs nothing", lambda: _fails(_execute_from_tmp, errno.EACCES)),
    ("network", "only loopback", _interfaces),
    ("network", "no route out", lambda: _fails(_route, errno.ENETUNREACH)),
    ("network", "no names", _no_names),
    ("limits", "tmp: bytes", lambda: _fails(_until_full, errno.ENOSPC)),
    ("limits", "tmp: files", lambda: _fails(_until_no_inode, errno.ENOSPC)),
    ("limits", "processes", lambda: _fails(_until_no_process, errno.EAGAIN)),
    ("limits", "open files", lambda: _fails(_until_no_descriptor, errno.EMFILE)),
    ("limits", "processors", _processors),
    ("limits", "no swap", _no_swap),
    ("limits", "no core files", _no_core),
)  # fmt: skip

# The same, behind a gate.
EGRESS: Checks = (
    ("egress", "what is allowed is caught", _caught),
    ("egress", "no other name", _no_other_name),
    ("egress", "no address without a name", lambda: _fails(lambda: _reach(socket.SOCK_STREAM, 443), errno.ECONNRESET)),
    ("egress", "no other port", lambda: _fails(lambda: _reach(socket.SOCK_STREAM, 22), errno.ECONNREFUSED)),
    ("egress", "no UDP", lambda: _fails(lambda: _reach(socket.SOCK_DGRAM, 443), errno.ECONNREFUSED)),
    ("egress", "behind it: only loopback", _interfaces),
    ("egress", "behind it: no capabilities", _no_capabilities),
)


def source(checks: str = "CHECKS") -> str:
    """What a sandbox runs; checks: "CHECKS" or "EGRESS"."""
    return inspect.getsource(sys.modules[__name__]) + f"\n\nmain({checks})\n"


def main(checks: Checks) -> None:
    """Prints one line a check."""
    if os.getuid() == 0 or os.getpid() > _FIRST_PIDS:
        sys.exit("this tries to break out of a sandbox, and runs nowhere else")
    for group, check, attempt in checks:
        try:
            held, said = attempt()
        except Exception as error:  # a check that cannot be made is one that does not hold
            held, said = False, repr(error)
        sys.stdout.write(json.dumps({"group": group, "check": check, "held": held, "said": said}) + "\n")
