"""Runs inside a sandbox as its server, alone with the standard library: does what a test asks, and tells the outcome.

A line in is ``["function", argument, ...]``; a line out is ``{"value": ...}``, or ``{"errno": "EROFS"}`` where the
kernel said no. guest.py starts it as ``python3 -I -c SOURCE`` and asks.
"""
# The kernel is asked by its own calls:
# ruff: noqa: PTH101, PTH108, PTH110, PTH115, PTH116, PTH118, PTH123, PTH208, PTH211

import ctypes
import errno
import json
import os
import resource
import signal
import socket
import stat
import sys
import time
from typing import Any

_VIRTUAL = ("/proc", "/sys", "/dev")


def echo(text: str) -> str:
    """The same."""
    return text


def text_of(path: str) -> str:
    """What can be read of a file, at most 64 KiB."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(file, 65536).decode(errors="replace")
    finally:
        os.close(file)


def names_in(path: str) -> list[str]:
    """A folder's entries."""
    return sorted(os.listdir(path))


def opened(path: str, flags: int) -> str:
    """Only that it can be opened so."""
    os.close(os.open(path, flags))
    return "opened"


def written(path: str, text: str) -> int:
    """Bytes written to a file, which is made if it is not there."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        return os.write(file, text.encode())
    finally:
        os.close(file)


def linked(target: str, path: str) -> str:
    """A symlink's text, as it reads afterwards."""
    os.symlink(target, path)
    return os.readlink(path)


def with_mode(path: str, mode: int) -> int:
    """The mode that a file has after chmod."""
    os.chmod(path, mode)
    return os.stat(path).st_mode & 0o7777


def device_made(path: str) -> str:
    """The machine's memory as a device file."""
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 1))
    return "made"


def remounted(target: str) -> str:
    """A mount made writable."""
    libc = ctypes.CDLL(None, use_errno=True)
    remount_bind = 32 | 4096
    if libc.mount(None, target.encode(), None, remount_bind, None) < 0:
        raise OSError(ctypes.get_errno(), "mount")
    return "remounted"


def status_of(pid: str) -> dict[str, str]:
    """/proc/PID/status."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return {key: value.strip() for key, _, value in (line.partition(":") for line in file)}


def environment_of(pid: str) -> dict[str, str]:
    """/proc/PID/environ, as the kernel has it."""
    with open(f"/proc/{pid}/environ", "rb") as file:
        words = file.read().decode().split("\0")
    return {name: value for name, _, value in (word.partition("=") for word in words if word)}


def processes() -> dict[str, str]:
    """Every process in sight: its pid and its name."""
    return {pid: text_of(f"/proc/{pid}/comm").strip() for pid in os.listdir("/proc") if pid.isdigit()}


def descriptors() -> dict[str, str]:
    """This process's open files, and its folder."""
    found = {"cwd": os.readlink("/proc/self/cwd")}
    for fd in os.listdir("/proc/self/fd"):
        try:
            found[fd] = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:
            continue  # the one by which the folder itself was listed
    return found


def mount_points() -> list[dict[str, Any]]:
    """/proc/self/mountinfo: where, of what kind, and the options of the mount and of its file system."""
    rows = []
    with open("/proc/self/mountinfo", encoding="ascii") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            kind, _, system = right.split()
            target, options = left.split()[4:6]
            rows.append({"target": target, "kind": kind, "options": (options + "," + system).split(",")})
    return rows


def refused_folders() -> dict[str, str]:
    """Every folder of the image, and what creating a file in it says: an errno, or "created"."""
    said = {}
    device = os.stat("/").st_dev
    for folder, below, _ in os.walk("/"):
        below[:] = [name for name in below if os.lstat(os.path.join(folder, name)).st_dev == device]
        try:
            os.close(os.open(os.path.join(folder, ".bulkhead-test"), os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            said[folder] = "created"
        except OSError as error:
            said[folder] = errno.errorcode[error.errno or 0]
    return said


def writable_places() -> list[str]:
    """What this user may write to, but devices and its own in /proc; a folder is named, and not what is in it."""
    found = []
    for folder, below, files in os.walk("/"):
        if folder == "/proc":
            below[:] = [name for name in below if not name.isdigit() and name not in ("self", "thread-self")]
        found += [path for path in (os.path.join(folder, name) for name in files) if _writable(path)]
        open_folders = [name for name in below if _writable(os.path.join(folder, name))]
        found += [os.path.join(folder, name) for name in open_folders]
        below[:] = [name for name in below if name not in open_folders]
    return sorted(found)


def _writable(path: str) -> bool:
    mode = os.lstat(path).st_mode
    return not stat.S_ISLNK(mode) and not stat.S_ISCHR(mode) and os.access(path, os.W_OK)


def peculiar_files() -> list[str]:
    """Setuid and setgid files, devices and sockets anywhere but in /proc, /sys and /dev."""
    found = []
    for folder, below, files in os.walk("/"):
        below[:] = [name for name in below if os.path.join(folder, name) not in _VIRTUAL]
        for name in files:
            mode = os.lstat(os.path.join(folder, name)).st_mode
            plain = stat.S_ISREG(mode) or stat.S_ISLNK(mode)
            if not plain or (stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID)):
                found.append(os.path.join(folder, name))
    return sorted(found)


def devices() -> dict[str, list[int]]:
    """Every device below /dev, with its numbers."""
    found = {}
    for folder, _, files in os.walk("/dev"):
        for name in files:
            status = os.lstat(os.path.join(folder, name))
            if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
                found[os.path.join(folder, name)] = [os.major(status.st_rdev), os.minor(status.st_rdev)]
    return found


def is_read_only(path: str) -> bool:
    """Whether the mount is, whoever asks."""
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def bytes_until_full(path: str, most: int) -> dict[str, Any]:
    """Writes a file to its file system's end, and removes it: the bytes, and what ended it."""
    file, size = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), 0
    try:
        while size < most:
            size += os.write(file, bytes(65536))
        return {"bytes": size, "ended": ""}
    except OSError as error:
        return {"bytes": size, "ended": errno.errorcode[error.errno or 0]}
    finally:
        os.close(file)
        os.unlink(path)


def files_until_full(folder: str, most: int) -> dict[str, Any]:
    """Makes empty files to their file system's end, and removes them."""
    made: list[str] = []
    try:
        while len(made) < most:
            path = os.path.join(folder, f"file-{len(made)}")
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
            made.append(path)
        return {"files": len(made), "ended": ""}
    except OSError as error:
        return {"files": len(made), "ended": errno.errorcode[error.errno or 0]}
    finally:
        for path in made:
            os.unlink(path)


def filled(path: str, size: int) -> int:
    """A file of so many bytes that stays."""
    with open(path, "wb", buffering=0) as file:
        while file.tell() < size:
            file.write(bytes(65536))
        return file.tell()


def filled_with_files(folder: str) -> None:
    """Empty files that stay, until there can be no more."""
    for number in range(2**20):
        os.close(os.open(os.path.join(folder, f"stays-{number}"), os.O_WRONLY | os.O_CREAT, 0o600))


def descriptors_until_refused(most: int) -> dict[str, Any]:
    """Opens files until no more may be, and closes them."""
    held: list[int] = []
    try:
        while len(held) < most:
            held.append(os.open("/dev/null", os.O_RDONLY))
        return {"files": len(held), "ended": ""}
    except OSError as error:
        return {"files": len(held), "ended": errno.errorcode[error.errno or 0]}
    finally:
        for fd in held:
            os.close(fd)


def limits() -> dict[str, list[int]]:
    """Limits of the process, soft and hard; -1 is none."""
    kinds = {"core": resource.RLIMIT_CORE, "nofile": resource.RLIMIT_NOFILE}
    return {name: list(resource.getrlimit(kind)) for name, kind in kinds.items()}


def limits_raised() -> None:
    """The limit of open files, above its hard limit."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard + 1, hard + 1))
    except ValueError as error:  # what Python makes of EPERM
        raise PermissionError(errno.EPERM, "setrlimit") from error


def aborted() -> list[str]:
    """The core files that a crash leaves in a folder where it could."""
    if os.fork() == 0:
        os.chdir("/tmp")  # noqa: S108
        signal.signal(signal.SIGABRT, signal.SIG_DFL)
        os.abort()
    status = os.wait()[1]
    dumped = ["dumped"] if os.WCOREDUMP(status) else []
    return dumped + [name for name in os.listdir("/tmp") if "core" in name]  # noqa: S108


def orphan_reaped(patience: float) -> bool:
    """Whether an orphan that has ended is gone: only the init can take it."""
    receive, send = os.pipe()
    if os.fork() == 0:
        orphan = os.fork()
        if orphan:
            os.write(send, str(orphan).encode())
        os._exit(0)
    os.wait()
    pid = int(os.read(receive, 16))
    os.close(receive)
    os.close(send)
    until = time.monotonic() + patience
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < until:
        time.sleep(0.01)
    return not os.path.exists(f"/proc/{pid}")


def fork_bomb() -> None:
    """Processes that do nothing but fork, each again and again."""
    while True:
        try:
            os.fork()
        except OSError:
            continue


def memory_bomb() -> None:
    """All the memory that there is."""
    held = []
    while True:
        held.append(bytearray(2**20))


def connected(family: int, kind: int, address: list[Any]) -> str:
    """Connects, and sends a datagram: only what comes back tells that nobody listens."""
    with socket.socket(family, kind) as sock:
        sock.settimeout(5)
        sock.connect(address[0] if family == socket.AF_UNIX else tuple(address))
        if kind == socket.SOCK_DGRAM:
            sock.send(b"x")
            sock.recv(1)
        return "connected"


def listening(family: int, address: list[Any]) -> list[Any]:
    """A listener that lasts as long as this process: its address."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.bind(address[0] if family == socket.AF_UNIX else tuple(address))
    sock.listen()
    name = sock.getsockname()
    sock.detach()
    return list(name) if isinstance(name, tuple) else [name if isinstance(name, str) else name.decode()]


def resolved(name: str) -> str:
    """A name's first address, or the resolver's word for why there is none."""
    try:
        return str(socket.getaddrinfo(name, 80)[0][4][0])
    except socket.gaierror as error:
        return next(word for word in dir(socket) if word.startswith("EAI_") and getattr(socket, word) == error.errno)


def interfaces() -> list[str]:
    """The network's interfaces."""
    return [name for _, name in socket.if_nameindex()]


def program_said(*command: str) -> str:
    """What a program prints."""
    receive, send = os.pipe()
    if os.fork() == 0:
        os.dup2(send, 1)
        os.execv(command[0], command)  # noqa: S606
    os.close(send)
    with os.fdopen(receive, encoding="utf-8") as output:
        text = output.read()
    os.wait()
    return text


def main() -> None:
    """Answers until its stdin ends."""
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            answer = {"value": globals()[name](*arguments)}
        except OSError as error:
            answer = {"errno": errno.errorcode.get(error.errno or 0, str(error))}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
