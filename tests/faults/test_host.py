"""Faults of the host: refused with a named error, without harm to the calls in flight or to the server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.faults.client import reason, said
from tests.servers import broken

if TYPE_CHECKING:
    from tests.conftest import OpenHost
    from tests.faults.client import Host

BAD = {
    "garbage": b"\x01\x02\xff{]\n",
    "bad utf-8": b'{"jsonrpc":"2.0","id":"h","method":"ping","params":{"x":"\xff"}}\n',
    "nan": b'{"jsonrpc":"2.0","id":"h","method":"ping","params":{"x":NaN}}\n',
    "surrogate": b'{"jsonrpc":"2.0","id":"h","method":"ping","params":{"x":"\\ud800"}}\n',
    "duplicate key": b'{"jsonrpc":"2.0","id":"h","method":"ping","method":"tools/call"}\n',
    "duplicate inside": b'{"jsonrpc":"2.0","id":"h","method":"tools/call","params":{"name":"echo","name":"crash"}}\n',
    "wrong case": b'{"jsonrpc":"2.0","id":"h","method":"ping","Method":"tools/call"}\n',
    "100k nesting": b'{"jsonrpc":"2.0","id":"h","method":"ping","params":{"x":' + b"[" * 10**5 + b"]" * 10**5 + b"}}\n",
    "id null": b'{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"crash"}}\n',
    "id 1.0": b'{"jsonrpc":"2.0","id":1.0,"method":"tools/call","params":{"name":"crash"}}\n',
    "id true": b'{"jsonrpc":"2.0","id":true,"method":"tools/call","params":{"name":"crash"}}\n',
    "batch": b'[{"jsonrpc":"2.0","id":"h","method":"tools/call","params":{"name":"crash"}}]\n',
    "no version": b'{"id":"h","method":"ping"}\n',
    "params a list": b'{"jsonrpc":"2.0","id":"h","method":"ping","params":[1]}\n',
    "method no string": b'{"jsonrpc":"2.0","id":"h","method":1}\n',
    "unasked answer": b'{"jsonrpc":"2.0","id":"s1","result":{}}\n',
    "our own id": b'{"jsonrpc":"2.0","id":"bulkhead/initialize","method":"ping"}\n',
    "just a newline in a string": b'{"jsonrpc":"2.0","id":"h","method":"ping","params":{"x":"\n',
}


@pytest.mark.parametrize("bad", BAD, ids=lambda name: name.replace(" ", "-"))
def test_a_frame_that_is_no_message_is_refused(host: Host, bad: str) -> None:
    heard = len(host.frames)
    host.raw(BAD[bad])
    refusal = host.wait_for(lambda frame: frame in host.frames[heard:] and "error" in frame)
    assert reason(refusal) == "malformed"
    assert host.text("echo", text="on") == "on"
    host.frames.remove(refusal)


def test_an_id_in_flight_cannot_be_asked_again(host: Host) -> None:
    call = host.start("sleep", seconds=0.6)
    heard = len(host.frames)
    host.send(id=call, method="tools/call", params={"name": "echo", "arguments": {"text": "the wrong one"}})
    refusal = host.wait_for(lambda frame: frame in host.frames[heard:] and "error" in frame)
    assert reason(refusal) == "malformed"
    assert refusal["id"] is None, "the call in flight must not be answered by the refusal of another"
    host.frames.remove(refusal)
    assert said(host.answer(call)) == "slept"


def test_an_id_may_be_asked_again_after_its_answer(host: Host) -> None:
    host.send(id="mine", method="ping")
    assert host.answer("mine")["result"] == {}
    host.frames.remove(host.answer("mine"))
    host.send(id="mine", method="ping")
    assert host.answer("mine")["result"] == {}
    host.asked.append("mine")


def test_ids_keep_their_type(host: Host) -> None:
    host.asked += ["77777", 77777]
    host.send(id="77777", method="tools/call", params={"name": "echo", "arguments": {"text": "string"}})
    host.send(id=77777, method="tools/call", params={"name": "echo", "arguments": {"text": "number"}})
    assert said(host.answer("77777")) == "string"
    assert said(host.answer(77777)) == "number"


@pytest.mark.parametrize("size", [2**20 + 2**16, 100 * 2**20], ids=["over", "100MB"])
def test_a_huge_frame_is_refused_with_its_id(host: Host, size: int) -> None:
    host.asked.append(f"huge-{size}")
    frame = {"jsonrpc": "2.0", "id": f"huge-{size}", "method": "tools/call"}
    head = json.dumps(frame | {"params": {"name": "echo", "arguments": {"text": ""}}}).encode()
    host.raw(head[:-4])
    for _ in range(size // 2**16):
        host.raw(b"x" * 2**16)
    host.raw(head[-4:] + b"\n")
    assert reason(host.answer(f"huge-{size}")) == "message"
    assert host.peak_mib() < 120


def test_a_frame_that_comes_byte_by_byte(host: Host) -> None:
    host.asked.append("slow")
    for byte in b'{"jsonrpc":"2.0","id":"slow","method":"ping"}\n':
        host.raw(bytes([byte]))
    assert host.answer("slow")["result"] == {}


def test_many_frames_at_once(open_host: OpenHost) -> None:
    host = open_host(concurrent_calls=1000, pids=400, memory="512MiB", call="20s")
    body = b"".join(
        b'{"jsonrpc":"2.0","id":"n%d","method":"tools/call","params":{"name":"echo","arguments":{"text":"%d"}}}\n'
        % (n, n)
        for n in range(300)
    )
    host.raw(body)
    assert [said(host.answer(f"n{n}")) for n in range(300)] == [str(n) for n in range(300)]


def test_empty_lines_and_blanks_mean_nothing(host: Host) -> None:
    heard = len(host.frames)
    host.raw(b"\n\n\n")
    assert host.text("echo", text="on") == "on"
    assert len(host.frames) == heard + 1


def test_a_half_frame_before_the_end(open_host: OpenHost) -> None:
    host = open_host()
    host.raw(b'{"jsonrpc":"2.0","id":"half","method":"pi')
    host.end_input()
    assert host.wait(4) == 0
    assert host.answers("half") == []


def test_frames_reach_the_server_as_the_bytes_that_they_were(open_host: OpenHost) -> None:
    host = open_host(server="fixture")
    odd = b'{"id" : "odd","jsonrpc":"2.0", "method":"tools/call","x-more":[1.50,"\\u00e9"],"params":{"name":"reflect"}}'
    host.raw(odd + b"\n")
    seen = json.loads(said(host.answer("odd")))
    assert seen == json.loads(odd)


def test_no_broken_frame_is_known_by_two_names() -> None:
    assert not broken.ANSWERS.keys() & broken.STRAYS.keys()
