"""Profiles: found by name, read, judged, and made into a ServerSpec, together with the flags of the command line.

Rules: one schema for file and flags, which add to the file and are judged as it is; an error says FILE:LINE, or the
flag; a profile that came with a project (its `.bulkhead/`) is a stranger's, and gives away nothing outside it; a file
that lies where a sandbox could ever write is not believed.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bulkhead import resources
from bulkhead.config import kept, signed, writable
from bulkhead.config.flags import Flags, with_flags
from bulkhead.config.mounts import check_mounts, project_of
from bulkhead.config.problems import Problem
from bulkhead.config.settings import Settings, config_dir, load_settings
from bulkhead.errors import ProfileError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bulkhead.config.locate import At
    from bulkhead.spec import ServerSpec

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
Origin = Literal["project", "user", "shipped"]


@dataclass(frozen=True, slots=True)
class Found:
    """A profile that could be named: where it lies, and whose it is."""

    name: str
    path: Path
    origin: Origin


def list_profiles(project: Path) -> list[Found]:
    """All that can be named, the one that is taken first; a name can come more than once."""
    return [
        Found(path.stem, path, origin)
        for origin, folder in _folders(project)
        for path in sorted(folder.glob("*.toml"))
        if _NAME.fullmatch(path.stem)
    ]


def find_profile(name: str, project: Path) -> Path:
    """The profile of this name: the project's, the user's, or the shipped one. Raises ProfileError."""
    if _NAME.fullmatch(name):
        for _, folder in _folders(project):
            if (folder / f"{name}.toml").is_file():
                return folder / f"{name}.toml"
    from difflib import get_close_matches

    known = list(dict.fromkeys(found.name for found in list_profiles(project)))
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "`bulkhead profile ls` lists them; --profile names a file"
    raise ProfileError(f"no profile {name[:80]!r}", why=f"there is none in {_searched(project)}", hint=hint)


def load_profile(path: Path, *, flags: Flags | None = None, settings: Settings | None = None) -> ServerSpec:
    """The spec of a profile, with what flags add and the user's default limits. Raises ProfileError or UsageError."""
    spec, errors = check_profile(path, flags=flags, settings=settings)
    if spec is None:
        raise errors[0]
    return spec


def check_profile(
    path: Path, *, flags: Flags | None = None, settings: Settings | None = None
) -> tuple[ServerSpec | None, list[ProfileError]]:
    """The spec, or all that is wrong. Raises ProfileError where there is nothing to judge, UsageError for flags.

    Raises IntegrityError where config.toml has trusted_keys, and none of them signed the profile.
    """
    path = path.absolute()
    writable.check(path)
    settings = settings or load_settings()
    document = signed.read_signed(path, settings.trusted_keys)
    data, where = with_flags(document.data, document.where, flags or Flags())
    if not _NAME.fullmatch(path.stem):
        why = "a server is called as its file, in small letters, digits, '.', '_' and '-'"
        return None, [ProfileError(f"{path}: this name cannot be a server's", why=why, hint="rename it")]
    spec, problems = _judge(data, path.stem, settings, profile=path)
    return (None if problems else spec), [problem.error(where) for problem in problems]


def spec_from_command(
    argv: Sequence[str],
    *,
    resolve: Callable[[str], str],
    flags: Flags | None = None,
    settings: Settings | None = None,
) -> ServerSpec:
    """The spec of `run -- npx -y PKG ARGS` or `run -- uvx PKG ARGS`.

    resolve gives the newest version of "npm:NAME" or "pypi:NAME"; it is asked only when the command names none. Raises
    UsageError, ProfileError, and what resolve raises.
    """
    from bulkhead.config import launchers

    command = launchers.parse_command(argv)
    version = command.version or resolve(command.package)
    server = {"package": f"{command.package}@{version}", "args": list(command.args)}
    if command.command:
        server["command"] = [command.command]
    data, where = with_flags({"server": server}, lambda _: "the command after --", flags or Flags())
    spec, problems = _judge(data, launchers.name_of(command.package), settings or load_settings(), profile=None)
    if problems or spec is None:
        raise problems[0].error(where)
    return spec


def unmounted_paths(spec: ServerSpec) -> list[str]:
    """Arguments that are paths of this machine: the server will not find them, for an argument mounts nothing."""
    targets = tuple(mount.target for mount in spec.mounts)
    candidates = [arg for arg in spec.server.args if arg.startswith(("/", "~/", "./", "../"))]
    return [arg for arg in candidates if not arg.startswith((*targets, "/work", "/tmp")) and _exists(arg)]  # noqa: S108


def profile_digest(spec: ServerSpec) -> str:
    """ "sha256:..." of the whole effective spec: keys sorted, no spaces, so that it is the same for the same rights."""
    import hashlib  # not on the way of `profile ls`
    import json

    text = json.dumps(asdict(spec), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"sha256:{hashlib.sha256(text.encode('ascii')).hexdigest()}"


def _folders(project: Path) -> list[tuple[Origin, Path]]:
    return [
        ("project", project / ".bulkhead"),
        ("user", config_dir() / "servers"),
        ("shipped", resources.folder("profiles") / "servers"),
    ]


def _searched(project: Path) -> str:
    return ", ".join(str(folder) for _, folder in _folders(project))


def _exists(path: str) -> bool:
    try:
        return Path(path).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False


def _judge(
    data: dict[str, Any], name: str, settings: Settings, *, profile: Path | None
) -> tuple[ServerSpec | None, list[Problem]]:
    if "name" in data:
        return None, [Problem(("name",), "a server is called as its file", "leave it out", "is not known")]
    limits = data.get("limits", {})
    merged = {**settings.limits, **limits} if isinstance(limits, dict) else limits
    whole = data | {"name": name, "limits": merged}
    key = kept.key_of([whole, project_of(profile) is not None])
    spec, problems = kept.recall(key), list[Problem]()
    if spec is None:
        spec, problems = _by_schema(whole)
        if spec is None:
            return None, problems
        problems += [*_plain_secrets(spec), *_strange_seccomp(spec, profile), *_strange_secrets(spec, profile)]
        if not problems:
            kept.keep(key, spec)
    mounts, unsafe = check_mounts(spec.mounts, profile=profile, project=Path.cwd())
    return replace(spec, mounts=mounts), [*unsafe, *problems]


def _by_schema(data: dict[str, Any]) -> tuple[ServerSpec | None, list[Problem]]:
    from pydantic import ValidationError

    from bulkhead.config import schema
    from bulkhead.config.problems import problems_of

    try:
        return schema.to_spec(schema.ServerSpec.model_validate(data)), []
    except ValidationError as error:
        return None, problems_of(error, schema.ServerSpec)


def _plain_secrets(spec: ServerSpec) -> list[Problem]:
    from bulkhead.config import secretlike

    server = spec.server
    found: list[tuple[At, str, str]] = []
    found += [(("server", "env", name), what, name) for name, what in secretlike.in_env(server.env)]
    found += [(("server", "args", index), what, "NAME") for index, what in secretlike.in_args(server.args)]
    found += [(("server", "command", index), what, "NAME") for index, what in secretlike.in_args(server.command)]
    return [Problem(at, f"it looks like {what}", _moved(name), "is refused") for at, what, name in found]


def _moved(name: str) -> str:
    return f'move it: `bulkhead secrets set {name}`, then [[secrets]] with name = "{name}", from = "keyring:{name}"'


def _strange_secrets(spec: ServerSpec, profile: Path | None) -> list[Problem]:
    """A project that was cloned could ask for any secret of the person's, for any host, or run a program for it."""
    if not project_of(profile):
        return []
    hint = "move the profile to ~/.config/bulkhead/servers/"
    found = []
    if spec.secrets:
        why = "a profile that comes with a project gets no secrets of yours"
        found.append(Problem(("secrets", 0), why, hint, "is refused"))
    if spec.screen.endpoint:
        why = "a screen reads what the server answers, and one that comes with a project is a stranger's"
        found.append(Problem(("screen", "endpoint"), why, hint, "is refused"))
    return found


def _strange_seccomp(spec: ServerSpec, profile: Path | None) -> list[Problem]:
    """A project's own filter could allow everything."""
    if not (project_of(profile) and spec.sandbox.seccomp.startswith("/")):
        return []
    why = "a profile that comes with a project uses a shipped filter, not a file"
    return [Problem(("sandbox", "seccomp"), why, "move the profile to ~/.config/bulkhead/servers/", "is refused")]
