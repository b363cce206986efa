"""What a server is and all that it may do: frozen models, made by config.py from a profile and flags.

Nothing that is not in a ServerSpec is allowed. Sizes are bytes, durations seconds. A mount's source is absolute and
checked; how a text such as "512MiB" or "30s" becomes a number stands here, because the model is the only schema.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

_SIZES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_TIMES = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)\Z", re.ASCII)


def _scaled(text: object, units: dict[str, float] | dict[str, int], example: str) -> float:
    match = _NUMBER.match(text) if isinstance(text, str) else None
    if match is None or match[2] not in units:
        raise ValueError(f"write a number with a unit ({', '.join(units)}), such as {example!r}")
    return float(match[1]) * units[match[2]]


def _size(text: object) -> int:
    """Bytes from a text such as "512MiB"; an int is taken as bytes already."""
    return text if type(text) is int else int(_scaled(text, _SIZES, "512MiB"))


def _seconds(text: object) -> float:
    """Seconds from a text such as "30s"; a number is taken as seconds already."""
    return text if type(text) in (int, float) else _scaled(text, _TIMES, "30s")  # type: ignore[return-value]


Size = Annotated[int, BeforeValidator(_size)]
Seconds = Annotated[float, BeforeValidator(_seconds)]
Port = Annotated[int, Field(ge=1, le=65535)]

# A package with its exact version: it becomes an image's name and an argument of npm or pip, so nothing else fits.
PACKAGE = re.compile(
    r"(?:npm:(?:@[a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]*|pypi:[A-Za-z0-9][A-Za-z0-9._-]*)@[0-9A-Za-z][0-9A-Za-z.+!_-]*\Z",
    re.ASCII,
)
# A registry image by digest, or one of our own by name ("bulkhead/python").
IMAGE = re.compile(r"(?:[a-z0-9][a-z0-9._/:-]*@sha256:[0-9a-f]{64}|bulkhead/[a-z0-9][a-z0-9._/-]*)\Z", re.ASCII)
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z", re.ASCII)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Server(_Model):
    """[server]: what runs."""

    package: str = ""
    image: str = ""
    command: tuple[str, ...] = Field(default=(), strict=False)
    args: tuple[str, ...] = Field(default=(), strict=False)
    env: dict[str, str] = Field(default_factory=dict)
    working_dir: str = "/work"

    @model_validator(mode="after")
    def _one_source(self) -> Server:
        if bool(self.package) == bool(self.image):
            raise ValueError("give package or image, one of the two")
        if self.package and not PACKAGE.match(self.package):
            raise ValueError('package must be "npm:NAME@VERSION" or "pypi:NAME@VERSION" with an exact version')
        if self.image and not IMAGE.match(self.image):
            raise ValueError('image must be "NAME@sha256:DIGEST", or one of bulkhead\'s own such as "bulkhead/python"')
        if self.image and not self.command:
            raise ValueError("image needs command: what an image says of itself is never used")
        for text in (*self.command, *self.args, *self.env.values(), self.working_dir):
            if "\0" in text:
                raise ValueError("a NUL character cannot stand in a command, argument or variable")
        for name in self.env:
            if not VARIABLE.match(name):
                raise ValueError(f"env: {name!r} is not a variable's name")
        if not self.working_dir.startswith("/") or ".." in PurePosixPath(self.working_dir).parts:
            raise ValueError("working_dir must be an absolute path without '..'")
        return self


class Limits(_Model):
    """[limits]: every key has a safe default."""

    cpus: float = Field(default=1.0, gt=0, le=1024, strict=False)
    memory: Size = Field(default=512 * 2**20, ge=16 * 2**20)
    pids: int = Field(default=128, ge=2, le=32768)
    tmp: Size = Field(default=64 * 2**20, ge=2**16)
    open_files: int = Field(default=1024, ge=16, le=2**20)
    message: Size = Field(default=16 * 2**20, ge=2**10, le=2**30)
    output: Size = Field(default=4 * 2**20, ge=2**10, le=2**30)
    start: Seconds = Field(default=30.0, gt=0, le=3600)
    call: Seconds = Field(default=60.0, gt=0, le=86400)
    calls_per_minute: int = Field(default=600, ge=1)
    concurrent_calls: int = Field(default=16, ge=1, le=4096)


class Mount(_Model):
    """[[mounts]]: one folder or file of the host. source is absolute once config.py has expanded and checked it."""

    source: str
    target: str
    write: bool = False


class EgressRule(_Model):
    """[[egress]]: one host and its ports."""

    host: str
    ports: tuple[Port, ...] = Field(min_length=1, strict=False)
    private: bool = False


class SecretBinding(_Model):
    """[[secrets]]: one secret, where it comes from and how it is used."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)

    name: str
    source: str = Field(alias="from")
    use: Literal["inject", "file", "env"] = "inject"
    hosts: tuple[str, ...] = Field(default=(), strict=False)
    ttl: Seconds = Field(default=900.0, gt=0)
    tools: tuple[str, ...] = Field(default=("*",), strict=False)


class Tools(_Model):
    """[tools]: shell-style patterns of tool names. Deny wins over approve, approve over allow."""

    allow: tuple[str, ...] = Field(default=("*",), strict=False)
    deny: tuple[str, ...] = Field(default=(), strict=False)
    approve: tuple[str, ...] = Field(default=(), strict=False)


class Sandbox(_Model):
    """[sandbox]: which engine, and what of its hardening this server needs otherwise."""

    engine: Literal["auto", "docker", "oci", "kubernetes"] = "auto"
    runtime: str = ""
    seccomp: str = "default"
    user: str = ""
    exec_tmp: bool = False


class ServerSpec(_Model):
    """A whole profile. name is the profile's file name, or made from the package by ``run -- npx``."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")
    description: str = ""
    server: Server
    limits: Limits = Limits()
    mounts: tuple[Mount, ...] = Field(default=(), strict=False)
    egress: tuple[EgressRule, ...] = Field(default=(), strict=False)
    secrets: tuple[SecretBinding, ...] = Field(default=(), strict=False)
    tools: Tools = Tools()
    sandbox: Sandbox = Sandbox()
