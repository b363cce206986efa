"""env: and file: - the real environment, and real files of every unsafe kind."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from bulkhead.credentials.base import MOST
from bulkhead.credentials.env import EnvProvider
from bulkhead.credentials.file import FileProvider
from bulkhead.errors import SecretError

if TYPE_CHECKING:
    from pathlib import Path

    from bulkhead.credentials.base import Provider

NAME = "BULKHEAD_TEST_SECRET"


def refusal(provider: Provider) -> SecretError:
    with pytest.raises(SecretError) as caught:
        provider.fetch()
    assert caught.value.hint
    return caught.value


@pytest.fixture
def path(tmp_path: Path, canary: str) -> Path:
    path = tmp_path / "token"
    path.write_text(canary + "\n")
    path.chmod(0o600)
    return path


def of(path: Path) -> FileProvider:
    return FileProvider(f"file:{path}")


def test_a_variable_as_it_is_when_it_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = EnvProvider(f"env:{NAME}")
    for value in ("first", "second\n"):
        monkeypatch.setenv(NAME, value)
        assert provider.fetch().value == value.encode()


def test_a_variable_need_not_be_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environb, NAME.encode(), b"\xff\xfe")
    assert EnvProvider(f"env:{NAME}").fetch().value == b"\xff\xfe"


def test_a_variable_that_is_not_set_or_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = EnvProvider(f"env:{NAME}")
    monkeypatch.delenv(NAME, raising=False)
    assert refusal(provider).why == "the variable is not set"
    monkeypatch.setenv(NAME, "")
    assert refusal(provider).why == "the variable is empty"
    assert refusal(provider).what == f"the secret at env:{NAME} is not available"


@pytest.mark.parametrize(
    ("written", "value"), [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a", "a"), ("a\r", "a\r"), (" a ", " a ")]
)
def test_one_newline_is_no_part_of_the_value(path: Path, written: str, value: str) -> None:
    path.write_bytes(written.encode())
    assert of(path).fetch().value == value.encode()


def test_a_file_in_the_home(path: Path, canary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(path.parent))
    assert FileProvider("file:~/token").fetch().value == canary.encode()


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_modes_that_are_closed(path: Path, mode: int) -> None:
    path.chmod(mode)
    assert of(path).fetch().value


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644])
def test_modes_that_are_open(path: Path, mode: int) -> None:
    path.chmod(mode)
    assert refusal(of(path)).why == "the file is open to other users"
    assert refusal(of(path)).hint == f"chmod 600 {path}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user(path: Path) -> None:
    os.chown(path, 12345, 12345)
    assert refusal(of(path)).why == "the file belongs to another user"


def test_a_folder_where_others_may_write(path: Path) -> None:
    path.parent.chmod(0o777)
    assert "other users may write in its folder" in refusal(of(path)).why
    assert refusal(of(path)).hint == f"chmod o-w {path.parent}"
    path.parent.chmod(0o1777)
    assert of(path).fetch().value


@pytest.mark.parametrize("unsafe", ["of the link", "of the file"])
def test_a_link_has_two_folders(path: Path, tmp_path: Path, unsafe: str) -> None:
    folder = tmp_path / "links"
    folder.mkdir()
    (folder / "token").symlink_to(path)
    assert of(folder / "token").fetch().value
    (folder if unsafe == "of the link" else tmp_path).chmod(0o777)
    assert "other users may write in its folder" in refusal(of(folder / "token")).why


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "folder").mkdir(0o700)
    (tmp_path / "device").symlink_to("/dev/zero")
    for name in ("fifo", "folder", "device"):
        assert refusal(of(tmp_path / name)).why == "it is no regular file"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        assert refusal(of(tmp_path / "socket")).why == "it cannot be read: No such device or address"


def test_what_cannot_be_read(tmp_path: Path) -> None:
    assert refusal(of(tmp_path / "nowhere")).why == "it cannot be read: No such file or directory"
    (tmp_path / "loop").symlink_to("loop")
    assert refusal(of(tmp_path / "loop")).why == "it cannot be read: Too many levels of symbolic links"


def test_no_value_and_too_much_of_one(path: Path) -> None:
    for written, why in ((b"", "empty"), (b"\n", "empty"), (b"a\0b", "NUL"), (b"a" * (MOST + 1), "longer than 64 KiB")):
        path.write_bytes(written)
        assert why in refusal(of(path)).why
    path.write_bytes(b"a" * MOST + b"\r\n")
    assert len(of(path).fetch().value) == MOST


def test_nothing_is_left_open(path: Path, tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a folder that changes while it is read
    for place in (path, tmp_path):
        for _ in range(5):
            try:
                of(place).fetch()
            except SecretError:
                continue
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - see above
