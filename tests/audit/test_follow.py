"""Shipping: at least once, in order, nothing lost while the other side is down, and the writers are left alone."""

from __future__ import annotations

import json
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from bulkhead.audit.follow import Cursor, FileSink, HttpSink, Reader, follow, sealed_since
from bulkhead.audit.log import AuditLog
from bulkhead.audit.record import START, Link
from bulkhead.errors import IntegrityError, UsageError
from tests.audit.conftest import lines_in, made, put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from bulkhead.audit.follow import Sink
    from bulkhead.audit.record import Sealed


class Enough(Exception):
    """The person interrupts it."""


class Broken:
    """Takes a batch after some that fail."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.taken: list[str] = []

    def send(self, lines: Sequence[str]) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionRefusedError(111, "Connection refused")
        self.taken += lines


def seq_of(sealed: Sealed) -> str:
    return str(sealed.seq)


def ship(folder: Path, sink: Sink, pauses: list[float] | None = None, said: list[str] | None = None) -> None:
    """Until there is nothing new."""

    def pause(seconds: float) -> None:
        if pauses is not None:
            pauses.append(seconds)
        if seconds == 0.5:
            raise Enough

    cursor = Cursor(folder, "here")
    with closing(Reader(folder, cursor.read())) as reader, pytest.raises(Enough):
        follow(reader, sink, cursor, seq_of, pause=pause, say=(said or []).append)


def test_a_sink_that_is_down_gets_everything_in_order_when_it_is_back(folder: Path, fill: Callable[..., None]) -> None:
    fill(4)
    sink, pauses, said = Broken(9), list[float](), ["-"]
    ship(folder, sink, pauses, said)
    assert sink.taken == ["1", "2", "3", "4", "5"]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60, 0.5]
    assert said[1:] == ["the records are not taken: Connection refused; trying again", "it works again"]


def test_it_goes_on_where_it_was(folder: Path, fill: Callable[..., None]) -> None:
    fill(2)
    sink = Broken(0)
    ship(folder, sink)
    ship(folder, sink)
    fill(1)
    ship(folder, sink)
    assert sink.taken == ["1", "2", "3", "4", "5"]
    assert Cursor(folder, "elsewhere").read() == START


def test_what_was_taken_and_not_noted_comes_again(folder: Path, fill: Callable[..., None]) -> None:
    """At least once: the process died between the two."""
    fill(2)
    sink = Broken(0)
    with closing(Reader(folder, START)) as reader, pytest.raises(Enough):
        follow(reader, sink, _NoCursor(), seq_of, pause=lambda _: None, say=lambda _: None)
    ship(folder, sink)
    assert sink.taken == ["1", "2", "3"] * 2


class _NoCursor(Cursor):
    def __init__(self) -> None:
        pass

    def write(self, at: Link) -> None:
        raise Enough(at)


def test_a_reader_follows_through_rotation(folder: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AuditLog, "max_bytes", 2000)
    log, seen = AuditLog(folder, sync=False), list[int]()
    for _ in range(60):
        log.add(made())
        seen += [sealed.seq for sealed in reader.read(100)]
    log.close()
    seen += [sealed.seq for sealed in reader.read(100)]
    assert len(list(folder.glob("log-*.jsonl"))) > 3
    assert seen == list(range(1, len(seen) + 1))
    assert [sealed.seq for sealed in sealed_since(folder, 1)] == seen
    assert [sealed.seq for sealed in sealed_since(folder, 40)] == seen[39:]


def test_what_is_written_while_the_next_file_is_looked_for_is_read(
    folder: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the last line that was read and the rotation there may be more."""
    log = AuditLog(folder, sync=False)
    log.add(made())
    assert [sealed.seq for sealed in reader.read(10)] == [1]
    look = reader._file_behind

    def late() -> Path | None:
        if log._chain._last.seq == 1:
            log.add(made())
            monkeypatch.setattr(AuditLog, "max_bytes", 10)
            AuditLog(folder, sync=False).add(made())
        return look()

    monkeypatch.setattr(reader, "_file_behind", late)
    assert [sealed.seq for sealed in reader.read(10)] == [2, 3, 4, 5]


def test_a_line_that_is_being_written_is_waited_for(folder: Path, reader: Reader, fill: Callable[..., None]) -> None:
    fill(3)
    whole = b"".join(lines_in(folder))
    put(folder, [whole[:-20]])
    assert [sealed.seq for sealed in reader.read(10)] == [1, 2, 3]
    put(folder, [whole])
    assert [sealed.seq for sealed in reader.read(10)] == [4]


@pytest.fixture
def reader(folder: Path) -> Iterator[Reader]:
    """From the beginning."""
    with closing(Reader(folder, START)) as opened:
        yield opened


@pytest.mark.parametrize(("left", "after", "why"), [(2, 4, "no such record"), (4, 3, "another record stands")])
def test_a_log_that_is_not_the_one_that_was_sent_is_told(
    folder: Path, fill: Callable[..., None], left: int, after: int, why: str
) -> None:
    fill(3)
    put(folder, lines_in(folder)[:left])
    reader, what = Reader(folder, Link(after, "f" * 64)), "does not go on behind record"
    with closing(reader), pytest.raises(IntegrityError, match=what) as caught:
        reader.read(10)
    assert why in caught.value.why


def test_a_file_that_is_cut_while_it_is_read_is_told(folder: Path, reader: Reader, fill: Callable[..., None]) -> None:
    fill(3)
    reader.read(10)
    put(folder, lines_in(folder)[:1])
    with pytest.raises(IntegrityError, match="does not go on") as caught:
        reader.read(10)
    assert caught.value.why == "the file was cut"


def test_a_cursor_that_cannot_be_read_is_no_beginning(folder: Path, fill: Callable[..., None]) -> None:
    fill(1)
    cursor = Cursor(folder, "here")
    cursor.write(Link(2, "a" * 64))
    assert cursor.read() == Link(2, "a" * 64)
    next((folder / "export").iterdir()).write_text("{")
    with pytest.raises(IntegrityError, match="cannot be read"):
        cursor.read()


def test_a_file_is_appended_to_and_a_torn_line_ended(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("one\ntw")
    FileSink(path).send(["two", "three"])
    assert path.read_text() == "one\ntw\ntwo\nthree\n"


class _Collector(BaseHTTPRequestHandler):
    answers: list[int]
    got: list[tuple[str, str | None, list[Any]]]

    def do_POST(self) -> None:
        """Answers as told, and keeps what came."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.answers.pop(0)
        if status == 200:
            self.got.append(
                (self.path, self.headers["Authorization"], [json.loads(line) for line in body.splitlines()])
            )
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Not to stderr."""


@pytest.fixture
def collector() -> Iterator[tuple[str, type[_Collector]]]:
    """Its address, and what it got."""
    kind = type("Collector", (_Collector,), {"answers": [], "got": []})
    with HTTPServer(("127.0.0.1", 0), kind) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/in?a=1", kind
        server.shutdown()
        thread.join()


def test_a_collector_gets_a_line_a_record_until_it_says_yes(
    folder: Path, fill: Callable[..., None], collector: tuple[str, type[_Collector]]
) -> None:
    url, got = collector
    got.answers = [503, 400, 302, 200]
    fill(2)
    pauses: list[float] = []
    ship(folder, HttpSink(url, "Bearer abc"), pauses)
    assert got.got == [("/in?a=1", "Bearer abc", [1, 2, 3])]
    assert pauses == [1, 2, 4, 0.5]


@pytest.mark.parametrize(
    "url", ["http://siem.example.com/x", "ftp://127.0.0.1/", "https:///x", "http://a:b@127.0.0.1/"]
)
def test_an_address_that_is_none_or_in_the_clear_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        HttpSink(url)
