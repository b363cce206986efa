"""An external screen reads what goes to the model: Azure AI Content Safety's Prompt Shields, or what speaks its API.

Rules: documents are cut to what the API takes, and what does not fit into one request goes into the next; each piece
begins with the end of the one before it, so that nothing hides at a cut. The key goes to a host that has proved its
name, or to this machine. A screen that does not answer in time, or not as the API says, is down: then [screen] outage
decides. So is one that would have to read more than MOST_REQUESTS: what was not read was not screened.
"""

from __future__ import annotations

import json
import ssl
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import anyio

from bulkhead.errors import DeniedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from urllib.parse import SplitResult

    from anyio.abc import ByteStream

    from bulkhead.policy.verdict import Show
    from bulkhead.spec import Screen

# Of one request: characters of all its documents, and documents.
MOST_CHARACTERS, MOST_DOCUMENTS = 10_000, 5
MOST_REQUESTS = 20
_OVERLAP = 200
_PATH = "/contentsafety/text:shieldPrompt?api-version=2024-09-01"
_LONGEST_ANSWER = 2**16
_HINT = 'see that [screen] endpoint answers, or set outage = "allow" in [screen] to go on without it'


class Screened(NamedTuple):
    """attack: the screen found one. why: what it found, or why it was not asked to the end; "" for clean."""

    attack: bool
    why: str = ""


class _Down(Exception):
    """The screen said nothing that counts; str() says why, without a word of what was sent."""


async def screen(spec: Screen, key: bytes, show: Show) -> Screened:
    """Has all documents read, within spec.timeout seconds. key: b"" for a screen that wants none.

    Raises DeniedError with the reason "screen" for an outage, unless spec.outage is "allow".
    """
    why = ""
    try:
        with anyio.fail_after(spec.timeout):
            return await _asked(spec.endpoint, key, list(batches(show.documents)))
    except _Down as down:
        why = str(down)
    except TimeoutError:
        why = f"no answer within {spec.timeout:g} s"
    # Not while it is handled: an error of a library may have the request with its key.
    if spec.outage == "allow":
        return Screened(attack=False, why=f"not screened: {why}")
    raise DeniedError("the screen could not be asked", why=why, hint=_HINT, reason="screen")


def batches(documents: tuple[str, ...]) -> Iterator[list[str]]:
    """What is sent in each request. An empty document is not sent."""
    batch: list[str] = []
    room = MOST_CHARACTERS
    for piece in (piece for document in documents for piece in _pieces(document)):
        if batch and (len(piece) > room or len(batch) == MOST_DOCUMENTS):
            yield batch
            batch, room = [], MOST_CHARACTERS
        batch.append(piece)
        room -= len(piece)
    if batch:
        yield batch


def _pieces(document: str) -> Iterator[str]:
    step = MOST_CHARACTERS - _OVERLAP
    for begin in range(0, max(1, len(document) - _OVERLAP), step):
        if piece := document[begin : begin + MOST_CHARACTERS]:
            yield piece


async def _asked(endpoint: str, key: bytes, all_batches: list[list[str]]) -> Screened:
    if len(all_batches) > MOST_REQUESTS:
        raise _Down(f"it takes {len(all_batches)} requests to screen it, at most {MOST_REQUESTS} are made")
    for batch in all_batches:
        body = json.dumps({"userPrompt": "", "documents": batch}).encode()
        if _attacked(_json(await _answer(endpoint, key, body)), len(batch)):
            return Screened(attack=True, why="the screen found an attack on the model in it")
    return Screened(attack=False)


def _json(answer: bytes) -> object:
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        raise _Down("its answer is not JSON") from None


def _attacked(answer: object, documents: int) -> bool:
    """What the API says of a request. An answer that leaves a document out says nothing."""
    if type(answer) is not dict:
        raise _Down("its answer is not one of Prompt Shields")
    analyses, prompt = answer.get("documentsAnalysis"), answer.get("userPromptAnalysis")
    if type(analyses) is not list or len(analyses) != documents:
        raise _Down("its answer does not judge each document")
    found = [each.get("attackDetected") if type(each) is dict else None for each in analyses]
    if any(type(each) is not bool for each in found):
        raise _Down("its answer does not judge each document")
    return any(found) or (type(prompt) is dict and prompt.get("attackDetected") is True)


async def _answer(endpoint: str, key: bytes, body: bytes) -> bytes:
    """The body of the answer to one request, on a connection of its own. Raises _Down."""
    from h11 import LocalProtocolError, RemoteProtocolError  # noqa: PLC0415 - for profiles with a screen

    why = ""
    try:
        url = urlsplit(endpoint)
        async with await _connected(url) as stream:
            return await _exchanged(stream, url, key, body)
    except ssl.SSLError as error:
        why = f"it did not prove its name: {getattr(error, 'verify_message', '') or error.reason}"
    except (OSError, anyio.BrokenResourceError, RemoteProtocolError):
        why = "it cannot be reached, hung up, or speaks no HTTP"
    except ValueError:
        why = "[screen] endpoint is no URL that can be asked"
    except LocalProtocolError:
        why = "the key is no header's value"
    raise _Down(why)


async def _connected(url: SplitResult) -> ByteStream:
    host = url.hostname or ""
    if url.scheme == "http":
        if not _is_here(host):
            raise _Down(f"[screen] endpoint must begin with https:// for {host}: the key would go out in the clear")
        return await anyio.connect_tcp(host, url.port or 80)
    return await anyio.connect_tcp(host, url.port or 443, tls=True, ssl_context=_trust(), tls_standard_compatible=False)


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _trust() -> ssl.SSLContext:
    """Whom this machine trusts, TLS 1.2 or later."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


async def _exchanged(stream: ByteStream, url: SplitResult, key: bytes, body: bytes) -> bytes:
    import h11  # noqa: PLC0415 - for profiles with a screen

    connection = h11.Connection(h11.CLIENT)
    headers = [
        (b"Host", url.netloc.rpartition("@")[2].encode()),
        (b"Content-Type", b"application/json"),
        (b"Content-Length", b"%d" % len(body)),
        (b"Connection", b"close"),
        *([(b"Ocp-Apim-Subscription-Key", key)] if key else []),
    ]
    request = h11.Request(method="POST", target=url.path.rstrip("/") + _PATH, headers=headers)
    await stream.send((connection.send(request) or b"") + (connection.send(h11.Data(data=body)) or b""))
    received = b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await _received(stream))
        elif isinstance(event, h11.Response) and event.status_code != 200:
            raise _Down(f"it answered with status {event.status_code}")
        elif isinstance(event, h11.Data):
            received += event.data
        elif not isinstance(event, h11.Response | h11.InformationalResponse):
            return received
        if len(received) > _LONGEST_ANSWER:
            raise _Down("its answer is too long")


async def _received(stream: ByteStream) -> bytes:
    try:
        return await stream.receive()
    except anyio.EndOfStream:
        return b""
