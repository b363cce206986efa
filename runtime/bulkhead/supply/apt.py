"""Debian packages: which mirrors the host's apt knows, and a root file system made from them."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from bulkhead.errors import StartError
from bulkhead.supply.host import CA_FILE, JOB, Passed, ca_bundle, lines_of, seen_inside

if TYPE_CHECKING:
    from collections.abc import Sequence

# The parts of each distribution that hold what the recipes name, and nothing of third parties.
_COMPONENTS = {"debian": ("main",), "ubuntu": ("main", "universe")}
_POCKETS = ("", "-updates", "-security")
_SETTING = re.compile(r'Acquire::(?:https?::.*Proxy|Check-Valid-Until|Check-Date|Retries)\S* "[^"]*";')
_PROXY = re.compile(r'Acquire::https?::\S*Proxy\S* "((?:https?|socks5h)://[^"]+)";')
_FORMAT = "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)"
# None of these is a program: settings of the host's apt, its mirrors among them, and what packages say of themselves.
_NOT_UNPACKED = ("./dev", "./etc", "./usr/share", "./var")
_OURS = ('Acquire::Languages "none";', 'APT::Install-Recommends "false";')


def host_release() -> tuple[str, str]:
    """("debian", "bookworm") for a host whose packages can be used; ("", "") for another."""
    try:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "", ""
    release = {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}
    distribution, codename = release.get("ID", ""), release.get("VERSION_CODENAME", "")
    return (distribution, codename) if distribution in _COMPONENTS and codename else ("", "")


def sources() -> list[str]:
    """The lines of a sources.list with the mirrors from which the host itself is installed."""
    distribution, codename = host_release()
    found = []
    for line in lines_of("apt-get", "indextargets", "--format", _FORMAT, "Created-By: Packages"):
        uri, suite, component, *origin = line.split()
        known = not origin or origin[0].lower() == distribution  # without lists, apt does not know the origin yet
        if known and suite.removeprefix(codename) in _POCKETS and component in _COMPONENTS.get(distribution, ()):
            found.append(f"deb {uri} {suite} {component}")
    return list(dict.fromkeys(found))


def settings() -> list[str]:
    """The host's own settings of how a mirror is reached, and what every build wants."""
    return [*_OURS, *(line for line in lines_of("apt-config", "dump") if _SETTING.fullmatch(line))]


def passed(release: str) -> Passed:
    """For apt in a container of that release; an image of another release than the host's uses its own mirrors."""
    # apt would change its user for downloads, which takes capabilities.
    inside = [*map(seen_inside, settings()), 'APT::Sandbox::User "root";', f'Acquire::https::CAInfo "{CA_FILE}";']
    files = {}
    if release == host_release()[1]:
        files = {"sources.list": _text([seen_inside(line) for line in sources()])}
        inside += [f'Dir::Etc::sourcelist "{JOB}/sources.list";', 'Dir::Etc::sourceparts "/dev/null";']
    env = {"APT_CONFIG": f"{JOB}/apt.conf", "DEBIAN_FRONTEND": "noninteractive"}
    proxies = tuple(match[1] for line in inside if (match := _PROXY.fullmatch(line)))
    return Passed(files | {"apt.conf": _text(inside)}, env, proxies)


def bootstrap(target: Path, packages: Sequence[str], *, unpacked: bool = False) -> str:
    """Writes a root file system's tar to target, and returns its release. Takes about half a minute. Blocks.

    unpacked: of the packages and what they need alone, with no system around and no script run, in four seconds.

    Raises StartError where mmdebstrap is missing or fails.
    """
    mmdebstrap, (_, codename), mirrors = shutil.which("mmdebstrap"), host_release(), sources()
    if not (mmdebstrap and mirrors):
        why = "this machine has no mmdebstrap" if mirrors else "this machine is no Debian or Ubuntu with mirrors"
        hint = "apt install mmdebstrap, or let the container engine reach a registry"
        raise StartError("no base image can be made", why=why, hint=hint, reason="build")
    empty, listed = target.with_name("empty"), target.with_name("mirrors.list")
    empty.touch()
    listed.write_text(_text(mirrors).decode(), encoding="utf-8")
    options = [f"--aptopt={line}" for line in settings()]
    if bundle := ca_bundle():
        options.append(f'--aptopt=Acquire::https::CAInfo "{bundle}";')
    # mmdebstrap leaves the host's resolver and name behind, where no build container can remove them: the engine
    # mounts its own over both.
    options += [f"--customize-hook=upload {empty} /etc/{name}" for name in ("resolv.conf", "hostname")]
    variant, made = ("extract", target.with_name("all.tar")) if unpacked else ("minbase", target)
    command = [mmdebstrap, "--quiet", f"--variant={variant}", f"--include={','.join(packages)}", *options]
    _run([*command, codename, str(made), str(listed)])
    if unpacked:
        _copy_programs(made, target)
    return codename


def _copy_programs(root: Path, target: Path) -> None:
    with tarfile.open(root) as old, tarfile.open(target, "w") as new:
        for member in old:
            if not member.name.startswith(_NOT_UNPACKED):
                new.addfile(member, old.extractfile(member) if member.isreg() else None)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603
    if done.returncode:
        why = done.stderr.strip()[-2000:]
        raise StartError(
            f"{Path(command[0]).name} failed", why=why, hint="see whether apt-get update works", reason="build"
        )


def _text(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
