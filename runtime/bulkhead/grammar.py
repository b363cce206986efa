"""The texts of a profile that have a grammar: packages, images, hosts, targets, users. PURE.

Each function returns its text, or raises ValueError with the reason; no reason repeats the text, which may be a secret.
A host in another script is the exception: what it would be in the DNS is told, since that is what has to be written.
"""

from __future__ import annotations

import json
import re
from pathlib import PurePosixPath

# A package with its exact version: it becomes an image's name and an argument of npm or pip, so nothing else fits.
PACKAGE = re.compile(
    r"(?:npm:(?:@[a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]*|pypi:[A-Za-z0-9][A-Za-z0-9._-]*)@[0-9A-Za-z][0-9A-Za-z.+!_-]*\Z",
    re.ASCII,
)
# A registry image by digest, or one of our own by name ("bulkhead/python").
IMAGE = re.compile(r"(?:[a-z0-9][a-z0-9._/:-]*@sha256:[0-9a-f]{64}|bulkhead/[a-z0-9][a-z0-9._/-]*)\Z", re.ASCII)
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z", re.ASCII)
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# The last label begins with a letter: 127.1, 2130706433 and 0x7f.1 are addresses to a resolver.
HOST_NAME = re.compile(rf"(?:\*\.)?(?:{_LABEL}\.)*[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])?\Z", re.ASCII)
# What can be nothing but an address: names have a letter in their last label, and no colon.
_NETWORK = re.compile(r"(?:[0-9]+(?:\.[0-9]+){3}|[0-9a-f]*:[0-9a-f:.]*)(?:/[0-9]{1,3})?\Z", re.ASCII)
# By version: the prefix of 10.0.0.0/8 and of fc00::/7.
_BROADEST = {4: 8, 6: 7}
# For pydantic, which searches: it needs its anchor at the beginning too.
SECRET_NAME = re.compile(r"\A[A-Za-z_][A-Za-z0-9_.-]{0,127}\Z", re.ASCII)
# Where secrets come from, by scheme: the shape of the place, and how it is written.
_SEGMENT = r"(?!\.\.?(?:[/#]|\Z))[^\0-\x20\x7f/?#]+"
_SOURCES = {
    "env": (VARIABLE, "env:NAME, the name of a variable"),
    "file": (re.compile(r"~?/[^\0\n]+\Z"), "file:PATH, absolute or from ~/"),
    "keyring": (re.compile(r"[^\0\n/]+(?:/[^\0\n/]+)?\Z"), "keyring:SERVICE or keyring:SERVICE/USER"),
    "vault": (re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*#[^\0\n#]+\Z"), "vault:PATH#FIELD"),
    "exec": (re.compile(r"\[[^\0\n]+\]\Z"), 'exec:["command","argument"], a JSON list of texts that are not empty'),
    "azure": (
        re.compile(r"[A-Za-z][A-Za-z0-9-]{1,23}/[A-Za-z0-9-]{1,127}(?:/[A-Za-z0-9]+)?\Z", re.ASCII),
        "azure:VAULT/SECRET or azure:VAULT/SECRET/VERSION",
    ),
}
_ARGUMENT = re.compile(r"[^\0\ud800-\udfff]+\Z")
_USER = re.compile(r"[1-9][0-9]{0,9}(?::[1-9][0-9]{0,9})?\Z", re.ASCII)
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z", re.ASCII)

# Where no folder of the host may stand: what the sandbox is made of, or what Bulkhead itself puts there.
RESERVED_TARGETS = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/opt/server", "/proc", "/run/secrets",
    "/run/stdio", "/sbin", "/sys", "/tmp", "/usr",  # noqa: S108  # a name of the sandbox
)  # fmt: skip
# Ours too, but a folder of the host may replace it or stand in it.
REPLACEABLE_TARGETS = ("/home/bulkhead", "/work")


def inside(path: str, folder: str) -> bool:
    """Whether path is folder or lies below it; both absolute and normalised."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def target(path: str) -> str:
    if not path.isprintable() or ":" in path:
        raise ValueError("target must be printable and without ':'")
    if not path.startswith("/") or path.startswith("//") or str(PurePosixPath(path)) != path or ".." in path.split("/"):
        raise ValueError("target must be an absolute path without '..', '//' or a '/' at its end")
    for reserved in RESERVED_TARGETS:
        if inside(path, reserved) or inside(reserved, path):
            raise ValueError(f"target lies over {reserved}, which belongs to the sandbox")
    if any(path != ours and inside(ours, path) for ours in REPLACEABLE_TARGETS):
        raise ValueError("target lies over a folder of the sandbox; mount at it or inside it")
    return path


def host(name: str) -> str:
    if not name.isascii():
        raise ValueError(_in_ascii(name))
    if _NETWORK.match(name):
        return _network(name)
    if len(name.removeprefix("*.")) > 253 or not HOST_NAME.match(name):
        raise ValueError(
            'host must be a name in lower case such as "api.github.com" or "*.example.org", or a CIDR; '
            "no scheme, port, path, user, final dot or bare '*'"
        )
    if name.startswith("*.") and name.count(".") == 1:
        raise ValueError('a "*." stands before a domain of two labels or more: no rule is for a whole top-level domain')
    if any(label.startswith("xn--") and not _international(label) for label in name.split(".")):
        raise ValueError("a label that begins with xn-- must be what a name in another script is in the DNS")
    return name


def _network(text: str) -> str:
    """The network as it is written shortest: the same one is never there twice."""
    from ipaddress import ip_network  # noqa: PLC0415  # few profiles name an address, and starts are counted in ms

    try:
        network = ip_network(text)
    except ValueError:
        raise ValueError(
            "this is no address and no CIDR: four decimal numbers, or IPv6, then '/' and the prefix's length, and "
            "nothing but zeros behind the prefix"
        ) from None
    if network.prefixlen < _BROADEST[network.version]:
        raise ValueError("the network is too large: there is no rule for all hosts")
    return str(network.network_address if network.prefixlen == network.max_prefixlen else network)


def _in_ascii(name: str) -> str:
    """Not converted in silence: a letter that only looks like another would not be seen by who reads the profile."""
    import idna  # noqa: PLC0415  # for names in another script alone

    star = "*." if name.startswith("*.") else ""
    try:
        written = star + idna.encode(name.removeprefix(star), uts46=True).decode()
    except (idna.IDNAError, UnicodeError):
        return "host must be a name in ASCII, in lower case; this one is none in another script either"
    return f"host must be a name in ASCII, in lower case: write {written!r}, if that is what is meant"


def _international(label: str) -> bool:
    import idna  # noqa: PLC0415  # for names in another script alone

    try:
        return bool(idna.alabel(idna.ulabel(label)) == label.encode())
    except (idna.IDNAError, UnicodeError):
        return False


def secret_source(text: str) -> str:
    scheme, _, place = text.partition(":")
    if scheme not in _SOURCES:
        raise ValueError(
            "from says where the value is, never the value: env: file: keyring: vault: exec: or azure:, and the place"
        )
    shape, written = _SOURCES[scheme]
    if not shape.match(place) or (scheme == "exec" and not _is_argv(place)):
        raise ValueError(f"from is written {written}")
    return text


def _is_argv(text: str) -> bool:
    try:
        argv = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(argv, list) and all(isinstance(it, str) and _ARGUMENT.match(it) for it in argv)


def user(text: str) -> str:
    if text and not _USER.match(text):
        raise ValueError(
            "user must be a number, or UID:GID; never 0, and no name: an image's own names are not believed"
        )
    if any(int(part) >= 2**31 for part in text.split(":") if part):
        raise ValueError("user must be below 2147483648")
    return text


def runtime(text: str) -> str:
    if text and not _PLAIN_NAME.match(text):
        raise ValueError("runtime must be the name of an OCI runtime that the engine knows")
    return text


def seccomp(text: str) -> str:
    if not (_PLAIN_NAME.match(text) or (text.startswith("/") and text.isprintable() and ".." not in text.split("/"))):
        raise ValueError("seccomp must be a name under profiles/seccomp/, or an absolute path without '..'")
    return text
