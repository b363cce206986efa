"""Each refusal of a profile: the file, the line, the reason and what to write."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from bulkhead.config import check_profile, find_profile, list_profiles, load_profile, profile_digest
from bulkhead.errors import ProfileError
from tests.unit.config_cases import HEAD, write

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("home")

TABLE = '[[secrets]]\nname = "A"\nfrom = "env:A"\n'
REFUSED = {
    # name: (text after [server], line, key and what, part of the reason, part of the hint)
    "unknown key": ("arg = []\n", 3, "server.arg is not known", "unknown key", "'args'"),
    "unknown limit": ('[limits]\nmmeory = "1GiB"\n', 4, "limits.mmeory is not known", "misspelt", "'memory'"),
    "unknown table": ("[limit]\n", 3, "limit is not known", "unknown key", "'limits'"),
    "unknown key of a secret": ('[[secrets]]\nname="A"\nfrom="env:A"\nfro=1\n', 6, "secrets[0].fro is", "", "'from'"),
    "nothing near": ("[limits]\nzzzz = 1\n", 4, "limits.zzzz is not known", "unknown key", "here: approval, call"),
    "a name": ("[limits]\n", 1, "name is not known", "called as its file", "leave it out"),
    "bad unit": ('[limits]\nmemory = "5 parsecs"\n', 4, "limits.memory", "number with a unit", "profiles.md"),
    "wrong case of a unit": ('[limits]\nmemory = "512mib"\n', 4, "limits.memory", "MiB", ""),
    "no number": ('[limits]\nstart = "soon"\n', 4, "limits.start", "number with a unit", ""),
    "endless number": (f'[limits]\nstart = "{"9" * 400}h"\n', 4, "limits.start", "number with a unit", ""),
    "not a number": ("[limits]\ncpus = nan\n", 4, "limits.cpus", "less than or equal", ""),
    "negative": ("[limits]\npids = -1\n", 4, "limits.pids", "greater than or equal to 2", ""),
    "too little memory": ('[limits]\nmemory = "1MiB"\n', 4, "limits.memory", "greater than or equal", ""),
    "a truth for a number": ("[limits]\npids = true\n", 4, "limits.pids", "whole number", ""),
    "a text for a number": ('[limits]\npids = "64"\n', 4, "limits.pids", "whole number", ""),
    "a text for a list": ('[tools]\nallow = "x"\n', 4, "tools.allow", "list", ""),
    "a number for a text": ("args = [1]\n", 3, "server.args[0]", "text in quotes", ""),
    "a table for a list of tables": ("[mounts]\nsource = 1\n", 3, "mounts", "list", ""),
    "a list for a table": ("[[limits]]\npids = 2\n", 3, "limits", "table", ""),
    "a date for a text": ("working_dir = 2026-01-01\n", 3, "server.working_dir", "text in quotes", ""),
    "no version": ("", 2, "server.package", "exact version", ""),
    "both sources": ('image = "bulkhead/python"\n', 1, "server", "one of the two", ""),
    "a variable's name": ('env = { "A B" = "c" }\n', 3, "server.env.'A B'", "letters, digits", ""),
    "a NUL": ('args = ["a\\u0000b"]\n', 3, "server.args", "NUL", ""),
    "a relative folder": ('working_dir = "../x"\n', 3, "server.working_dir", "absolute", ""),
    "root": ('[sandbox]\nuser = "0"\n', 4, "sandbox.user", "never 0", ""),
    "the root group": ('[sandbox]\nuser = "1000:0"\n', 4, "sandbox.user", "never 0", ""),
    "root by zeros": ('[sandbox]\nuser = "00"\n', 4, "sandbox.user", "never 0", ""),
    "root by name": ('[sandbox]\nuser = "root"\n', 4, "sandbox.user", "no name", ""),
    "a uid beyond": ('[sandbox]\nuser = "4294967296"\n', 4, "sandbox.user", "below", ""),
    "a strange engine": ('[sandbox]\nengine = "none"\n', 4, "sandbox.engine", "'auto', 'docker'", ""),
    "a runtime that is a path": ('[sandbox]\nruntime = "/tmp/runc"\n', 4, "sandbox.runtime", "name of an OCI", ""),
    "a filter by path": ('[sandbox]\nseccomp = "../../x"\n', 4, "sandbox.seccomp", "without '..'", ""),
    "every host": ('[[egress]]\nhost = "*"\nports = [443]\n', 4, "egress[0].host", "bare '*'", ""),
    "a URL": ('[[egress]]\nhost = "https://a.example"\nports = [443]\n', 4, "egress[0].host", "no scheme", ""),
    "a user in a host": ('[[egress]]\nhost = "a@b.example"\nports = [443]\n', 4, "egress[0].host", "user", ""),
    "a final dot": ('[[egress]]\nhost = "b.example."\nports = [443]\n', 4, "egress[0].host", "final dot", ""),
    "a decimal address": ('[[egress]]\nhost = "2130706433"\nports = [1]\n', 4, "egress[0].host", "lower case", ""),
    "a short address": ('[[egress]]\nhost = "127.1"\nports = [1]\n', 4, "egress[0].host", "lower case", ""),
    "a hexadecimal address": ('[[egress]]\nhost = "0x7f.0.0.1"\nports = [1]\n', 4, "egress[0].host", "lower case", ""),
    "another script": ('[[egress]]\nhost = "\\u0430.test"\nports = [1]\n', 4, "egress[0].host", "'xn--80a.test'", ""),
    "NUL in a host": ('[[egress]]\nhost = "a.example\\u0000.b"\nports = [1]\n', 4, "egress[0].host", "lower case", ""),
    "private address": ('[[egress]]\nhost = "10.0.0.0/8"\nports = [443]\n', 4, "egress[0].host", "private = true", ""),
    "the metadata address": ('[[egress]]\nhost = "169.254.169.254"\nports = [80]\n', 4, "egress[0]", "private", ""),
    "a zone": ('[[egress]]\nhost = "fe80::1%e"\nports = [1]\nprivate = true\n', 4, "egress[0].host", "lower case", ""),
    "localhost": ('[[egress]]\nhost = "localhost"\nports = [443]\n', 4, "egress[0].host", "private = true", ""),
    "no ports": ('[[egress]]\nhost = "a.example"\nports = []\n', 5, "egress[0].ports", "empty", ""),
    "port 0": ('[[egress]]\nhost = "a.example"\nports = [0]\n', 5, "egress[0].ports[0]", "greater", ""),
    "a host twice": (
        '[[egress]]\nhost = "a.example"\nports = [1]\n[[egress]]\nhost = "a.example"\nports = [2]\n',
        7, "egress[1].host", "already", "",
    ),
    "a secret twice": (
        '[[secrets]]\nname = "A"\nfrom = "env:A"\nuse = "env"\n[[secrets]]\nname = "A"\nfrom = "env:B"\nuse = "env"\n',
        8, "secrets[1].name", "already", "",
    ),
    "a secret for nobody": (TABLE, 3, "secrets[0].hosts", "needs the hosts", ""),
    "a secret for a host without a way": (
        f'[[egress]]\nhost = "a.example"\nports = [80]\n{TABLE}hosts = ["a.example"]\n',
        9, "secrets[0].hosts", "TLS", "",
    ),
    "a secret for another host": (
        f'[[egress]]\nhost = "*.a.example"\nports = [443]\n{TABLE}hosts = ["a.example"]\n',
        9, "secrets[0].hosts", "TLS", "",
    ),
    "hosts of a file": (f'{TABLE}use = "file"\nhosts = ["a.example"]\n', 7, "secrets[0].hosts", "value itself", ""),
    "no variable's name": (
        '[[secrets]]\nname = "a.b"\nfrom = "env:A"\nuse = "env"\n', 4, "secrets[0].name", "digits", "",
    ),
    "a variable of the sandbox": (
        '[[secrets]]\nname = "PATH"\nfrom = "env:A"\nuse = "env"\n', 4, "secrets[0].name", "sandbox's own", "",
    ),
    "a variable twice": (f'env = {{ A = "b" }}\n{TABLE}use = "env"\n', 5, "secrets[0].name", "variable of this", ""),
    "a secret's value": ('[[secrets]]\nname = "A"\nfrom = "hunter2"\n', 5, "secrets[0].from", "never the value", ""),
    "a secret's name": ('[[secrets]]\nname = "../A"\nfrom = "env:A"\n', 4, "secrets[0].name", "a name", ""),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_line_reason_and_hint(case: str, tmp_path: Path) -> None:
    text, line, what, why, hint = REFUSED[case]
    head = {"no version": '[server]\npackage = "npm:server"\n', "a name": f'name = "x"\n{HEAD}'}.get(case, HEAD)
    path = write(tmp_path, text, head=head)
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    assert caught.value.what.startswith(f"{path}:{line}: {what}")
    assert why in caught.value.why
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


def test_a_project_gets_no_secrets(project: Path) -> None:
    """One that was just cloned could ask for any, for any host, and run a program for it."""
    (project / ".bulkhead").mkdir(exist_ok=True)
    path = write(project / ".bulkhead", f'{TABLE}use = "file"\n')
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    assert "gets no secrets of yours" in caught.value.why


NO_TOML = {
    "a key twice": ('package = "npm:b@2"\n', 3, "Cannot overwrite"),
    "a table twice": ("[limits]\n[limits]\n", 4, "Cannot declare"),
    "no value": ("args =\n", 3, "Invalid value"),
    "an open text": ('args = ["\n', 3, "Illegal character"),
    "an open list": ("args = [\n", 4, "Invalid value"),
    "deep nesting": (f"args = {'[' * 5000}\n", 1, "nested too deeply"),
    "a long number": (f"[limits]\npids = {'9' * 5000}\n", 1, "4300 digits"),
}


@pytest.mark.parametrize("case", NO_TOML)
def test_what_is_no_toml_is_refused_with_its_line(case: str, tmp_path: Path) -> None:
    text, line, why = NO_TOML[case]
    path = write(tmp_path, text)
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    assert caught.value.what.startswith(f"{path}:{line}: ")
    assert why in caught.value.why


def test_all_errors_are_told_not_only_the_first(tmp_path: Path) -> None:
    path = write(tmp_path, "arg = 1\n[limits]\npids = 0\nfoo = 1\n")
    spec, errors = check_profile(path)
    assert spec is None
    assert [error.what.split(": ")[0] for error in errors] == [f"{path}:{line}" for line in (3, 5, 6)]


def test_a_value_is_never_repeated(tmp_path: Path) -> None:
    path = write(tmp_path, '[[secrets]]\nname = "hunter 2"\nfrom = "hunter2"\nuse = "hunter2"\nttl = "hunter2"\n')
    _, errors = check_profile(path)
    assert len(errors) == 4
    assert "hunter" not in "".join(error.what + error.why + error.hint for error in errors)


def test_what_is_written_is_what_is_allowed(tmp_path: Path) -> None:
    spec = load_profile(write(tmp_path, 'args = ["-y", "--", "$HOME"]\n[limits]\nmemory = "1GiB"\nstart = "500ms"\n'))
    assert (spec.name, spec.server.args) == ("server", ("-y", "--", "$HOME"))
    assert (spec.limits.memory, spec.limits.start, spec.limits.call) == (2**30, 0.5, 60.0)
    assert (spec.mounts, spec.egress, spec.secrets) == ((), (), ())


class TestTheFile:
    """A policy file that others could have written says nothing."""

    def test_writable_by_others(self, tmp_path: Path) -> None:
        path = write(tmp_path, "")
        path.chmod(0o602)
        with pytest.raises(ProfileError, match="is not used") as caught:
            load_profile(path)
        assert "others can write to it" in caught.value.why
        assert "chmod go-w" in caught.value.hint

    def test_writable_by_a_group(self, tmp_path: Path) -> None:
        path = write(tmp_path, "")
        os.chown(path, -1, 12345)
        path.chmod(0o620)
        with pytest.raises(ProfileError) as caught:
            load_profile(path)
        assert "others can write to it" in caught.value.why

    def test_writable_by_the_group_that_is_the_owners_alone(self, tmp_path: Path) -> None:
        path = write(tmp_path, "")
        path.chmod(0o660)
        assert load_profile(path).name == "server"

    def test_in_a_folder_that_others_can_write_to(self, tmp_path: Path) -> None:
        folder = tmp_path / "open"
        folder.mkdir()
        folder.chmod(0o777)
        path = write(folder, "")
        with pytest.raises(ProfileError) as caught:
            load_profile(path)
        assert "its folder" in caught.value.why

    def test_of_another_user(self, tmp_path: Path) -> None:
        path = write(tmp_path, "")
        os.chown(path, 12345, -1)
        with pytest.raises(ProfileError) as caught:
            load_profile(path)
        assert "uid 12345" in caught.value.why

    def test_too_large(self, tmp_path: Path) -> None:
        with pytest.raises(ProfileError, match="too large"):
            load_profile(write(tmp_path, "#" * 2**20))

    def test_not_a_regular_file(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "server.toml", 0o600)
        with pytest.raises(ProfileError) as caught:
            load_profile(tmp_path / "server.toml")
        assert "not a regular file" in caught.value.why

    def test_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "server.toml").mkdir()
        with pytest.raises(ProfileError, match=r"cannot be read|is not used"):
            load_profile(tmp_path / "server.toml")

    def test_not_utf8(self, tmp_path: Path) -> None:
        (tmp_path / "server.toml").write_bytes(b"[server]\n# \xff\n")
        with pytest.raises(ProfileError, match=r"server\.toml:2: this is not UTF-8"):
            load_profile(tmp_path / "server.toml")

    def test_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(ProfileError, match="cannot be read") as caught:
            load_profile(tmp_path / "server.toml")
        assert "No such file" in caught.value.why

    def test_a_name_that_no_server_can_have(self, tmp_path: Path) -> None:
        with pytest.raises(ProfileError, match="this name cannot be a server's"):
            load_profile(write(tmp_path, "", "-rm"))


class TestFinding:
    """By name: the project's first, then the user's, then the shipped one."""

    def test_order(self, project: Path, home: Path) -> None:
        assert find_profile("time", project).parent.name == "servers"
        user = home / ".config/bulkhead/servers"
        user.mkdir(parents=True)
        write(user, "", "time")
        assert find_profile("time", project) == user / "time.toml"
        (project / ".bulkhead").mkdir()
        write(project / ".bulkhead", "", "time")
        assert find_profile("time", project) == project / ".bulkhead/time.toml"
        assert [found.origin for found in list_profiles(project) if found.name == "time"] == [
            "project", "user", "shipped",
        ]  # fmt: skip

    def test_unknown_with_the_nearest(self, project: Path) -> None:
        with pytest.raises(ProfileError, match="no profile 'tiem'") as caught:
            find_profile("tiem", project)
        assert "time" in caught.value.hint
        assert str(project / ".bulkhead") in caught.value.why

    @pytest.mark.parametrize(
        "name", ["../time", "/etc/passwd", "time\n", "", ".", "-v", "TIME", "time.toml/../time", "a\0b"]
    )
    def test_a_name_is_no_path(self, name: str, project: Path) -> None:
        with pytest.raises(ProfileError, match="no profile"):
            find_profile(name, project)

    def test_where_a_project_profile_may_not_choose(self, project: Path) -> None:
        folder = project / ".bulkhead"
        folder.mkdir()
        path = write(folder, '[sandbox]\nseccomp = "/tmp/all.json"\n')
        with pytest.raises(ProfileError, match=r"sandbox\.seccomp is refused") as caught:
            load_profile(path)
        assert "comes with a project" in caught.value.why


def test_the_digest_is_of_the_rights_not_of_the_writing(tmp_path: Path) -> None:
    one = load_profile(write(tmp_path, '[limits]\nmemory = "1GiB"\npids = 7\n'))
    same = load_profile(write(tmp_path, '[limits] # again\npids = 7\nmemory = "1024MiB"\n'))
    other = load_profile(write(tmp_path, '[limits]\nmemory = "1GiB"\npids = 8\n'))
    assert profile_digest(one) == profile_digest(same)
    assert profile_digest(one) != profile_digest(other)
    assert profile_digest(one).startswith("sha256:")
