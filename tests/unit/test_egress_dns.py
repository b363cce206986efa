"""dns.py: every query has the answer that it must have, the question comes back as it came, and nothing is too long."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkhead.egress import dns
from bulkhead.egress.dns import Question, framed, parse, reply, take

NAME = b"\3aPi\7exAmple\3com\0"
OPT = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)


def header(flags: int = 0x0100, counts: tuple[int, int, int, int] = (1, 0, 0, 0)) -> bytes:
    return struct.pack("!HHHHHH", 0x1234, flags, *counts)


def query(
    name: bytes = NAME, kind: int = 1, class_: int = 1, *, flags: int = 0x0100, opt: bytes = b"", extra: bytes = b""
) -> bytes:
    counts = (1, 0, 0, 1 if opt else 0)
    return header(flags, counts) + name + struct.pack("!HH", kind, class_) + opt + extra


def asked(message: bytes) -> Question:
    question = parse(message)
    assert isinstance(question, Question)
    return question


def rcode(answer: bytes) -> int:
    """The code of an answer to the queries of this file, the OPT record's part included."""
    id_, flags, *counts = struct.unpack_from("!HHHHHH", answer)
    assert (id_, flags & 0xF800) == (0x1234, 0x8000 | flags & 0x7800)
    upper = answer[-6] << 4 if counts[3] else 0
    return int(upper | flags & 15)


class TestAnswered:
    """What is a plain query."""

    def test_an_address(self) -> None:
        question = asked(query())
        assert (question.name, question.type, question.wants_address) == ("api.example.com", dns.A, True)
        answer = reply(question, address="198.18.0.7", ttl=5)
        assert answer == (
            header(0x8180, (1, 1, 0, 0)) + NAME + b"\0\1\0\1"
            + b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4" + socket.inet_aton("198.18.0.7")
        )  # fmt: skip

    def test_the_case_of_the_question_is_kept(self) -> None:
        assert NAME in reply(asked(query()), rcode=dns.NXDOMAIN)

    def test_no_such_name(self) -> None:
        answer = reply(asked(query()), rcode=dns.NXDOMAIN)
        assert answer == header(0x8183, (1, 0, 0, 0)) + NAME + b"\0\1\0\1"

    @pytest.mark.parametrize("kind", [2, 5, 6, 12, 15, 16, 28, 33, 64, 65, 257])
    def test_a_name_without_such_a_record(self, kind: int) -> None:
        question = asked(query(kind=kind))
        assert not question.wants_address
        assert reply(question) == header(0x8180, (1, 0, 0, 0)) + NAME + struct.pack("!HH", kind, 1)

    def test_any(self) -> None:
        assert asked(query(kind=255)).wants_address

    def test_edns_is_answered_in_edns(self) -> None:
        answer = reply(asked(query(opt=OPT)), address="198.18.0.7")
        assert struct.unpack_from("!HHHH", answer, 4) == (1, 1, 0, 1)
        assert answer.endswith(b"\0" + struct.pack("!HHIH", 41, 4096, 0, 0))

    def test_options_of_edns_are_not_looked_at(self) -> None:
        cookie = b"\0\x0a\0\x08abcdefgh"
        assert asked(query(opt=b"\0" + struct.pack("!HHIH", 41, 1232, 0, len(cookie)) + cookie)).edns

    def test_recursion_is_offered_and_echoed(self) -> None:
        assert [reply(asked(query(flags=flags)))[2:4] for flags in (0, 0x0100)] == [b"\x80\x80", b"\x81\x80"]

    def test_ad_and_cd_are_ignored(self) -> None:
        assert reply(asked(query(flags=0x0130)))[2:4] == b"\x81\x80"

    def test_the_longest_name_fits(self) -> None:
        name = (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"a" * 61 + b"\0"
        question = asked(query(name, opt=OPT))
        assert len(name) == 255
        assert len(question.name) == 253
        assert len(reply(question, address="198.18.0.7")) <= 512

    def test_a_code_beyond_15_stands_in_the_opt_record(self) -> None:
        assert rcode(reply(asked(query(opt=OPT)), rcode=dns.BADVERS)) == dns.BADVERS


@pytest.mark.parametrize(
    ("name", "read"),
    [
        (b"\0", ""),
        (b"\1a\0", "a"),
        (b"\6_dmarc\1A\0", "_dmarc.a"),
        (b"\3a.b\1c\0", "a\\046b.c"),
        (b"\3a\\b\0", "a\\092b"),
        (b"\2\0\x1b\0", "\\000\\027"),
        (b"\2\xc3\xa9\0", "\\195\\169"),
        (b"\2\xc3\x89\0", "\\195\\137"),
    ],
)
def test_a_name_cannot_be_read_as_another(name: bytes, read: str) -> None:
    assert asked(query(name)).name == read


FORMERR, NOTIMP, REFUSED, BADVERS = dns.FORMERR, dns.NOTIMP, dns.REFUSED, dns.BADVERS
REFUSALS = {
    "inverse query": (query(flags=0x0900), NOTIMP),
    "status": (query(flags=0x1100), NOTIMP),
    "notify": (query(flags=0x2100), NOTIMP),
    "update": (query(flags=0x2900), NOTIMP),
    "truncated": (query(flags=0x0300), FORMERR),
    "no question": (header(counts=(0, 0, 0, 0)), FORMERR),
    "two questions": (header(counts=(2, 0, 0, 0)) + (NAME + b"\0\1\0\1") * 2, FORMERR),
    "an answer": (header(counts=(1, 1, 0, 0)) + query()[12:] + OPT, FORMERR),
    "an authority": (header(counts=(1, 0, 1, 0)) + query()[12:] + OPT, FORMERR),
    "two additional records": (header(counts=(1, 0, 0, 2)) + query()[12:] + OPT * 2, FORMERR),
    "an additional record that is none of EDNS": (query(opt=b"\0" + struct.pack("!HHIH", 250, 255, 0, 0)), FORMERR),
    "an OPT record with a name": (query(opt=b"\1" + OPT[1:]), FORMERR),
    "an OPT record cut off": (query(opt=OPT[:-1]), FORMERR),
    "an OPT record that is longer than the query": (query(opt=OPT[:-2] + b"\0\1"), FORMERR),
    "bytes behind the OPT record": (query(opt=OPT, extra=b"\0"), FORMERR),
    "bytes behind the question": (query(extra=b"\0"), FORMERR),
    "a name without an end": (header() + b"\3api", FORMERR),
    "a name cut off": (header() + b"\3ap", FORMERR),
    "no type": (header() + NAME, FORMERR),
    "half a class": (header() + NAME + b"\0\1\0", FORMERR),
    "a pointer to itself": (query(b"\xc0\x0c"), FORMERR),
    "a pointer to the header": (query(b"\1a\xc0\0"), FORMERR),
    "a label of 64": (query(b"\x40" + b"a" * 64 + b"\0"), FORMERR),
    "a label of 128": (query(b"\x80" + b"a" * 128 + b"\0"), FORMERR),
    "a name of 256": (query((b"\x3f" + b"a" * 63) * 3 + b"\x3e" + b"a" * 62 + b"\0"), FORMERR),
    "a name of many labels": (query(b"\1a" * 128 + b"\0"), FORMERR),
    "type 0": (query(kind=0), FORMERR),
    "type OPT": (query(kind=41), FORMERR),
    "too long": (query(opt=b"\0" + struct.pack("!HHIH", 41, 1232, 0, 5000) + bytes(5000)), FORMERR),
    "EDNS version 1": (query(opt=b"\0" + struct.pack("!HHIH", 41, 1232, 1 << 16, 0)), BADVERS),
    "a zone transfer": (query(kind=252), REFUSED),
    "an incremental transfer": (query(kind=251), REFUSED),
    "class CH": (query(b"\7version\4bind\0", 16, 3), REFUSED),
    "class ANY": (query(class_=255), REFUSED),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refused_at_once(case: str) -> None:
    message, code = REFUSALS[case]
    answer = parse(message)
    assert isinstance(answer, bytes)
    assert rcode(answer) == code


@pytest.mark.parametrize("message", [b"", b"\x12\x34\1\0", header()[:11], query(flags=0x8180), header(0xFFFF)])
def test_what_is_no_query_has_no_answer(message: bytes) -> None:
    assert parse(message) is None


LABELS = st.lists(st.binary(min_size=1, max_size=63), max_size=6)


@given(st.binary(max_size=80) | st.builds(lambda tail: header() + tail, st.binary(max_size=80)))
@example(header() + b"\xc0\x0c\0\1\0\1")
def test_any_bytes_have_an_answer_of_at_most_512_bytes(message: bytes) -> None:
    answer = parse(message)
    if isinstance(answer, Question):
        answer = reply(answer, address="198.18.0.1")
    assert answer is None or (len(answer) <= 512 and answer[:2] == message[:2] and answer[2] & 0x80)


@given(LABELS, st.integers(0, 65535), st.booleans())
def test_what_is_well_formed_is_read(labels: list[bytes], kind: int, edns: bool) -> None:
    name = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    answer = parse(query(name, kind, opt=OPT if edns else b""))
    if len(name) > 255 or kind in (0, 41):
        assert isinstance(answer, bytes)
        assert rcode(answer) == FORMERR
    elif 249 <= kind <= 254:
        assert isinstance(answer, bytes)
        assert rcode(answer) == REFUSED
    else:
        assert isinstance(answer, Question)
        assert (answer.type, answer.edns, answer.name.count(".")) == (kind, edns, max(0, len(labels) - 1))
        assert answer.wire == name + struct.pack("!HH", kind, 1)


class TestTcp:
    """The framing of DNS over TCP."""

    def test_messages_come_whole_however_the_bytes_come(self) -> None:
        messages = [query(), query(kind=28), query(opt=OPT)]
        buffer, taken = bytearray(), []
        for byte in b"".join(map(framed, messages)):
            buffer.append(byte)
            if message := take(buffer):
                taken.append(message)
        assert (taken, len(buffer)) == (messages, 0)

    def test_several_at_once(self) -> None:
        buffer = bytearray(framed(query()) * 2)
        assert [take(buffer), take(buffer), take(buffer)] == [query(), query(), None]

    @pytest.mark.parametrize("size", [0, 11, 4097, 65535])
    def test_a_length_that_no_query_has(self, size: int) -> None:
        with pytest.raises(ValueError, match="no query is of this length"):
            take(bytearray(size.to_bytes(2, "big")))
