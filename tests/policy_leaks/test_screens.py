"""The screen: what it is sent, what its answers mean, and what becomes of a message when it does not answer."""

from __future__ import annotations

import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from bulkhead import screens
from bulkhead.errors import DeniedError
from bulkhead.policy.verdict import Show
from bulkhead.screens import Screened, batches
from bulkhead.spec import Screen
from tests.policy_leaks.shields import ATTACK, KEY, Shields, running

if TYPE_CHECKING:
    from collections.abc import Iterator

GONE = "it cannot be reached, hung up, or speaks no HTTP"
EACH = "its answer does not judge each document"
CLEAN = Show(("a sunny day", "and a mild night"))


@pytest.fixture
def shields() -> Iterator[Shields]:
    with running(Shields()) as stub:
        yield stub
        assert stub.problems == []


def ask(endpoint: str, show: Show = CLEAN, *, key: bytes = KEY, timeout: float = 10, **others: Any) -> Screened:
    spec = Screen(endpoint=endpoint, timeout=timeout, **others)

    async def main() -> Screened:
        return await screens.screen(spec, key, show)

    return anyio.run(main)


def down(endpoint: str, show: Show = CLEAN, *, key: bytes = KEY, timeout: float = 10) -> str:
    """Why; the same for both policies, and without a word of what was sent."""
    with pytest.raises(DeniedError) as caught:
        ask(endpoint, show, key=key, timeout=timeout, outage="deny")
    error = caught.value
    assert (error.reason, error.what) == ("screen", "the screen could not be asked")
    assert "[screen]" in error.hint
    assert error.__cause__ is None
    assert error.__context__ is None
    allowed = ask(endpoint, show, key=key, timeout=timeout, outage="allow")
    assert allowed == Screened(attack=False, why=f"not screened: {error.why}")
    assert not any(text in str(error.data()) for text in (key.decode() or "-", *show.documents))
    return error.why


def test_clean(shields: Shields) -> None:
    assert ask(shields.endpoint) == Screened(attack=False)
    assert shields.asked == [{"userPrompt": "", "documents": list(CLEAN.documents)}]


@pytest.mark.parametrize(
    "documents", [(ATTACK,), ("a", f"b {ATTACK} c"), ("a",) * 7 + (ATTACK,), ("x" * 9_990 + ATTACK,)]
)
@pytest.mark.parametrize("outage", ["deny", "allow"])
def test_an_attack(shields: Shields, documents: tuple[str, ...], outage: str) -> None:
    found = ask(shields.endpoint + "/", Show(documents), outage=outage)
    assert found == Screened(attack=True, why="the screen found an attack on the model in it")


def test_nothing_to_read_is_not_asked(shields: Shields) -> None:
    assert ask(shields.endpoint, Show(("", ""))) == Screened(attack=False)
    assert shields.asked == []


def test_an_attack_in_the_prompt(shields: Shields) -> None:
    shields.body = b'{"userPromptAnalysis":{"attackDetected":true},"documentsAnalysis":[{"attackDetected":false}]}'
    assert ask(shields.endpoint, Show(("a",))).attack


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 429, 500, 503])
def test_a_status_is_an_outage(shields: Shields, status: int) -> None:
    shields.status = status
    assert down(shields.endpoint) == f"it answered with status {status}"


def test_a_wrong_key_is_an_outage(shields: Shields) -> None:
    assert down(shields.endpoint, key=b"another-key") == "it answered with status 401"
    assert down(shields.endpoint, key=b"") == "it answered with status 401"
    assert down(shields.endpoint, key=b"two\r\nlines") == "the key is no header's value"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "its answer is not JSON"),
        (b"{", "its answer is not JSON"),
        (b"\xff", "its answer is not JSON"),
        (b"[" * 10_000, "its answer is not JSON"),
        (b"[]", "its answer is not one of Prompt Shields"),
        (b"{}", EACH),
        (b'{"documentsAnalysis":[{"attackDetected":false}]}', EACH),
        (b'{"documentsAnalysis":[{"attackDetected":false},{}]}', EACH),
        (b'{"documentsAnalysis":[{"attackDetected":false},{"attackDetected":"no"}]}', EACH),
        (b'{"documentsAnalysis":[{"attackDetected":false},null]}', EACH),
        (b" " * 70_000, "its answer is too long"),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_an_outage(shields: Shields, body: bytes, why: str) -> None:
    shields.body = body
    assert down(shields.endpoint) == why


def test_one_that_is_slow_is_an_outage(shields: Shields) -> None:
    shields.slow = True
    assert down(shields.endpoint, timeout=0.1) == "no answer within 0.1 s"


def test_nobody_there_is_an_outage() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert down(f"http://127.0.0.1:{taken.getsockname()[1]}") == GONE


def test_one_that_hangs_up_is_an_outage() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            for _ in range(2):
                server.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        assert down(f"http://127.0.0.1:{server.getsockname()[1]}") == GONE
        thread.join()


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:99999", "https://", "http://[::1"])
def test_no_endpoint_is_an_outage(endpoint: str) -> None:
    assert down(endpoint)


def test_the_key_does_not_go_out_in_the_clear() -> None:
    assert down("http://screen.example.com") == (
        "[screen] endpoint must begin with https:// for screen.example.com: the key would go out in the clear"
    )


def test_the_host_has_to_prove_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with running(Shields(), context) as stub:
        assert "did not prove its name" in down(stub.endpoint)
        assert stub.asked == []
        with authority.cert_pem.tempfile() as path:
            monkeypatch.setenv("SSL_CERT_FILE", path)
            assert ask(stub.endpoint) == Screened(attack=False)
            assert "did not prove its name" in down(stub.endpoint.replace("127.0.0.1", "localhost"))


def test_too_much_is_not_read_in_part(shields: Shields) -> None:
    show = Show(("x" * 9_800 * (screens.MOST_REQUESTS + 1),))
    assert down(shields.endpoint, show) == "it takes 21 requests to screen it, at most 20 are made"
    assert shields.asked == []


@given(st.lists(st.tuples(st.sampled_from("ab\u00e9"), st.integers(0, 30_000)), max_size=8))
def test_all_of_it_is_sent_and_fits(sizes: list[tuple[str, int]]) -> None:
    documents = tuple((letter * size)[:-1] + "!" if size else "" for letter, size in sizes)
    sent = list(batches(documents))
    assert all(0 < len(batch) <= 5 and sum(map(len, batch)) <= 10_000 and all(batch) for batch in sent)
    rest = [piece for batch in sent for piece in batch]
    for document in filter(None, documents):
        made = rest.pop(0)
        while len(made) < len(document):
            made += rest.pop(0)[200:]
        assert made == document
    assert rest == []
