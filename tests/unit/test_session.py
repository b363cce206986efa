"""session.py: ids both ways, what is remembered and for how long, the handshake and the era."""

from __future__ import annotations

from typing import Any

import pytest

from bulkhead.wire.messages import Answer, Id, Malformed, Notification, Request
from bulkhead.wire.session import Ids, Session


def request(request_id: Id, method: str = "tools/call") -> Request:
    return Request(b"", request_id, method, {})


def answer(request_id: Id) -> Answer:
    return Answer(b"", request_id, {}, None)


def cancelled(request_id: Any) -> Notification:
    return Notification(b"", "notifications/cancelled", {"requestId": request_id})


def asked(*request_ids: Id) -> Ids[str]:
    ids: Ids[str] = Ids()
    for request_id in request_ids:
        ids.ask(request(request_id), f"entry {request_id!r}")
    return ids


def test_an_answer_goes_to_the_one_that_asked() -> None:
    ids = asked(1, "1", 2)
    assert ids.answer(answer("1")) == "entry '1'"
    assert ids.answer(answer(1)) == "entry 1"
    assert list(ids.pending) == [2]


@pytest.mark.parametrize("wrong", [2, "1", -1, "x" * 1000, 10**100])
def test_an_answer_that_nobody_asked_for(wrong: Id) -> None:
    ids = asked(1)
    with pytest.raises(Malformed, match="which was not asked or is answered already") as caught:
        ids.answer(answer(wrong))
    assert len(str(caught.value)) < 200
    assert list(ids.pending) == [1]


def test_a_second_answer() -> None:
    ids = asked(1)
    ids.answer(answer(1))
    with pytest.raises(Malformed, match="an answer to id 1, which was not asked or is answered already"):
        ids.answer(answer(1))


def test_an_id_is_asked_again_only_after_its_answer() -> None:
    ids = asked("a")
    with pytest.raises(Malformed, match="id 'a' is in flight already"):
        ids.ask(request("a"), "another")
    assert ids.answer(answer("a")) == "entry 'a'"
    ids.ask(request("a"), "another")
    assert ids.answer(answer("a")) == "another"


def test_whatever_ends_a_request_is_told_once() -> None:
    """Its secrets go then."""
    left: list[str] = []
    ids: Ids[str] = Ids(left=left.append)
    for name in ("answered", "cancelled", "dropped", "buried"):
        ids.ask(request(name), name)
    ids.answer(answer("answered"))
    ids.cancel(cancelled("cancelled"))
    assert ids.answer(answer("cancelled")) is None
    assert ids.drop("dropped") == "dropped"
    assert ids.drop("dropped") is None
    assert ids.end() == ["buried"]
    assert left == ["answered", "cancelled", "dropped", "buried"]


def test_a_cancelled_request_and_its_late_answer() -> None:
    ids = asked(1)
    assert ids.cancel(cancelled(1)) == "entry 1"
    with pytest.raises(Malformed, match="id 1 was cancelled and may still be answered"):
        ids.ask(request(1), "would get the answer of another")
    assert ids.answer(answer(1)) is None
    with pytest.raises(Malformed, match="not asked or is answered already"):
        ids.answer(answer(1))
    ids.ask(request(1), "again")
    assert ids.answer(answer(1)) == "again"


@pytest.mark.parametrize("wrong", [2, "1", None, True, 1.0, [1], {}])
def test_a_cancellation_of_nothing(wrong: object) -> None:
    ids = asked(1)
    assert ids.cancel(cancelled(wrong)) is None
    assert ids.cancel(Notification(b"", "notifications/cancelled", {})) is None
    assert ids.answer(answer(1)) == "entry 1"


def test_what_was_cancelled_is_forgotten_in_the_end() -> None:
    ids: Ids[str] = Ids()
    for number in range(5000):
        ids.ask(request(number), "")
        ids.cancel(cancelled(number))
    assert ids.answer(answer(4999)) is None
    assert ids.answer(answer(5000 - 1024)) is None
    with pytest.raises(Malformed, match="not asked"):
        ids.answer(answer(5000 - 1025))


def test_the_end_of_a_server_ends_all() -> None:
    ids = asked(1, 2)
    ids.cancel(cancelled(2))
    assert ids.end() == ["entry 1"]
    assert ids.end() == []
    ids.ask(request(1), "of the next server")
    ids.ask(request(2), "of the next server")
    assert ids.answer(answer(2)) == "of the next server"


@pytest.mark.parametrize(
    ("in_flight", "texts", "found"),
    [
        ([1, 2], ["2"], 2),
        ([1, "2"], ["2"], "2"),
        ([1, 2], ["2", "2", "9"], 2),
        ([1, 2], ["1", "2"], None),
        ([2, "2"], ["2"], None),
        ([1], [], None),
        ([1], ["9"], None),
        ([], ["1"], None),
    ],
)
def test_the_one_request_that_a_malformed_answer_names(in_flight: list[Id], texts: list[str], found: Id | None) -> None:
    assert asked(*in_flight).matching(texts) == found


def test_a_server_may_wait_for_so_many_answers() -> None:
    session: Session[str] = Session()
    for number in range(64):
        session.server.ask(request(number), "")
        session.host.ask(request(number), "")
    with pytest.raises(Malformed, match="more than 64 requests without an answer"):
        session.server.ask(request(64), "")
    session.host.ask(request(64), "")
    session.server.answer(answer(0))
    session.server.ask(request(64), "")


def test_the_two_directions_know_nothing_of_one_another() -> None:
    session: Session[str] = Session()
    session.host.ask(request(1), "the host's")
    session.server.ask(request(1), "the server's")
    assert session.host.answer(answer(1)) == "the host's"
    assert session.server.answer(answer(1)) == "the server's"


@pytest.mark.parametrize(
    ("methods", "era"),
    [
        (["initialize"], "legacy"),
        (["server/discover"], ""),
        (["server/discover", "initialize"], "legacy"),
        (["server/discover", "tools/list"], "modern"),
        (["tools/list"], "modern"),
    ],
)
def test_the_era_is_what_the_host_speaks(methods: list[str], era: str) -> None:
    session: Session[str] = Session()
    for number, method in enumerate(methods):
        session.note(request(number, method))
    assert session.era == era


def test_the_handshake_is_kept() -> None:
    session: Session[str] = Session()
    initialize, initialized = request(0, "initialize"), Notification(b"", "notifications/initialized", {})
    session.note(initialize)
    session.note(request(1))
    session.note(initialized)
    session.note(Notification(b"", "notifications/progress", {}))
    assert (session.initialize, session.initialized) == (initialize, initialized)
