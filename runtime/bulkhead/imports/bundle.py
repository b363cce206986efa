"""A bundle's files: a zip that a stranger made, looked through before any of it is written, and unpacked.

Rules: names are plain paths below the bundle, each once, whatever the case of letters; only files and folders, no links
and no devices; bounded in number and bytes, and what counts is what comes out, not what the zip says. One thing that is
wrong refuses the whole. Files are unpacked beside their place and moved there as one, and belong to who unpacks.
"""

from __future__ import annotations

import shutil
import stat
import tempfile
from contextlib import contextmanager
from hashlib import sha256
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from bulkhead.errors import DeniedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zipfile import ZipFile, ZipInfo

MAGIC = b"PK\x03\x04"
MOST_FILES = 20_000
MOST_BYTES = 512 * 2**20
_LONGEST = 240  # of a name's parts, in bytes: file systems have 255
_BLOCK = 2**16
_ENCRYPTED = 0x1


class Bundle:
    """A zip that was looked through. digest: of its bytes, 64 hexadecimal digits."""

    def __init__(self, source: str, data: bytes) -> None:
        """Raises DeniedError."""
        self.source = source
        self.digest = sha256(data).hexdigest()
        self._data = data
        with self._opened() as file:
            self._infos = self._checked(file.infolist())

    def __contains__(self, name: str) -> bool:
        return name in self._infos

    def read(self, name: str, most: int) -> bytes:
        """A file's first bytes, most + 1 of a longer one. Raises DeniedError."""
        with self._opened() as file, file.open(self._infos[name]) as member:
            return member.read(most + 1)

    def unpack(self, folder: Path) -> None:
        """All files, below a folder that is not there yet. Raises DeniedError."""
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            with self._opened() as file:
                self._write_all(file, fresh)
            fresh.chmod(0o755)
            fresh.rename(folder)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise

    @contextmanager
    def _opened(self) -> Iterator[ZipFile]:
        import zipfile  # noqa: PLC0415 - for bundles alone
        import zlib  # noqa: PLC0415 - its error

        try:
            with zipfile.ZipFile(BytesIO(self._data)) as file:
                yield file
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
            raise self._refused(str(error)[:200] or type(error).__name__) from None

    def _checked(self, infos: list[ZipInfo]) -> dict[str, ZipInfo]:
        """The files by their names."""
        if len(infos) > MOST_FILES:
            raise self._refused(f"it has more than {MOST_FILES} files")
        if sum(info.file_size for info in infos) > MOST_BYTES:
            raise self._too_large()
        seen, folders = set[str](), set[str]()
        for info in infos:
            if why := _odd(info):
                raise self._refused(f"{info.orig_filename[:80]!a}: {why}")
            name = info.filename.rstrip("/").casefold()
            folders.update(str(parent) for parent in PurePosixPath(name).parents)
            if name in seen:
                raise self._refused(f"{info.filename[:80]!a} is there twice")
            seen.add(name)
        files = {info.filename: info for info in infos if not info.is_dir()}
        if both := folders.intersection(name.casefold() for name in files):
            raise self._refused(f"{min(both)[:80]!a} is a file and a folder")
        return files

    def _write_all(self, file: ZipFile, folder: Path) -> None:
        room = MOST_BYTES
        for name, info in self._infos.items():
            path = folder / name
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            with file.open(info) as member, path.open("xb") as out:
                room -= self._copy(member, out, room)
            # The sandbox's user is another: it has to read them, and nobody writes.
            path.chmod(0o755 if info.external_attr >> 16 & stat.S_IXUSR else 0o644)

    def _copy(self, member: Any, out: Any, room: int) -> int:
        count = 0
        while block := member.read(_BLOCK):
            count += len(block)
            if count > room:
                raise self._too_large()
            out.write(block)
        return count

    def _too_large(self) -> DeniedError:
        return self._refused(f"unpacked it has more than {MOST_BYTES >> 20} MiB")

    def _refused(self, why: str) -> DeniedError:
        hint = "nothing was unpacked; ask who made it for another"
        return DeniedError(f"{self.source}: the bundle is not used", why=why, hint=hint, reason="bundle")


def _odd(info: ZipInfo) -> str:
    """What is wrong with one entry; "" for nothing. The name is looked at as it was before zipfile mended it."""
    mode = info.external_attr >> 16
    parts = info.orig_filename.removesuffix("/").split("/")
    if info.orig_filename != info.filename or "\\" in info.orig_filename or ":" in info.orig_filename:
        return "its name is another one on another system"
    if any(part in ("", ".", "..") or not part.isprintable() or len(part.encode()) > _LONGEST for part in parts):
        return "its name is no plain path below the bundle"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "it is neither a file nor a folder: a link, or a device"
    return "it is encrypted" if info.flag_bits & _ENCRYPTED else ""
