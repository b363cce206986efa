"""HTTP clients as they are, over HTTP/1.1 and HTTP/2, plain and in TLS: what each says is what the server said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.clients.box import MEGABYTE
from tests.clients.servers.content import content, digest
from tests.clients.servers.http2 import content_sha256
from tests.clients.servers.web import Request

if TYPE_CHECKING:
    from tests.clients.box import Box, Place
    from tests.clients.servers.web import Web

SIZE_OF_ARGUMENT = 100_000
SIZE = 3 * MEGABYTE
SCHEMES = pytest.mark.parametrize("scheme", ["http", "https"])


@SCHEMES
class TestCurl:
    def test_it_reaches_the_server_by_its_name(self, box: Box, web: Web, scheme: str) -> None:
        assert box.run("curl", "-sS", web.url("/hello/curl", scheme)) == "hello curl"
        assert web.arrived[-1] == Request("GET", "/hello/curl", web.place.name, scheme)
        last = box.ended()
        assert (last.decision, last.name, last.dialled) == ("allow", web.place.name, web.place.address)

    def test_one_connection_for_many_requests(self, box: Box, web: Web, scheme: str) -> None:
        before = box.journal.caught
        said = box.run("curl", "-sS", *(web.url(f"/hello/{number}", scheme) for number in range(20)))
        assert said == "".join(f"hello {number}" for number in range(20))
        assert box.journal.caught == before + 1

    @pytest.mark.parametrize("path", [f"/bytes/{SIZE}", f"/chunks/{SIZE}"])
    def test_what_it_downloads(self, box: Box, web: Web, scheme: str, path: str) -> None:
        said = box.run("sh", "-c", 'curl -sS "$1" | sha256sum', "-", web.url(path, scheme))
        assert said.split()[0] == digest(content(SIZE))

    @pytest.mark.parametrize("file", ["body", "-"], ids=["length", "chunks"])
    def test_what_it_uploads(self, box: Box, web: Web, scheme: str, file: str) -> None:
        """It asks before, with Expect: 100-continue."""
        script = 'head -c "$1" /dev/urandom > body; sha256sum < body; curl -sS -T "$2" "$3" < body'
        said = box.run("sh", "-c", script, "-", str(SIZE), file, web.url("/upload", scheme))
        assert (web.arrived[-1].size, web.arrived[-1].sha256) == (SIZE, said.split()[0])


def test_curl_follows_a_redirect_to_https(box: Box, web: Web) -> None:
    assert box.run("curl", "-sSL", web.url("/moved/hello/there", "http")) == "hello there"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl_with_either_tls(box: Box, web: Web, version: str) -> None:
    said = box.run("curl", "-sS", f"--tlsv{version}", "--tls-max", version, web.url("/hello/tls"))
    assert said == "hello tls"


def test_a_certificate_of_nobody_is_refused_by_the_client_itself(box: Box, web: Web) -> None:
    """TLS ends in the client: the gate has no certificate, and shows none."""
    code, said = box.fails(
        "curl", "-sS", web.url("/hello"), env={"CURL_CA_BUNDLE": "/etc/ssl/certs/ca-certificates.crt"}
    )
    assert (code, "self-signed certificate" in said or "unable to get local issuer" in said) == (60, True), said


class TestHttp2:
    def test_curl(self, box: Box, http2: Place) -> None:
        said = box.run("curl", "-sS", "--data-binary", "x" * SIZE_OF_ARGUMENT, f"https://{http2.name}/")
        assert said == f"2.0 {digest(b'x' * SIZE_OF_ARGUMENT)}"

    def test_curl_that_asks_for_the_old_one(self, box: Box, http2: Place) -> None:
        assert box.run("curl", "-sS", "--http1.1", f"https://{http2.name}/") == f"1.1 {digest(b'')}"

    def test_many_streams_of_one_connection(self, box: Box, http2: Place) -> None:
        before = box.journal.caught
        script = 'cd /tmp; curl -sS --parallel -o "stream-#1" "$1" 2>/dev/null; sha256sum stream-* | cut -d" " -f1'
        said = box.run("sh", "-c", script, "-", f"https://{http2.name}/bytes/10000[0-9]")
        assert said.split() == [content_sha256(100_000 + number) for number in range(10)]
        assert box.journal.caught == before + 1

    def test_node(self, box: Box, http2: Place) -> None:
        said = box.node(
            """
            const { createHash } = require("node:crypto");
            const session = require("node:http2").connect(process.argv[1]);
            const one = () => new Promise((resolve, reject) => {
              const total = createHash("sha256");
              const stream = session.request({ ":path": "/bytes/" + process.argv[2] });
              stream.on("data", (piece) => total.update(piece)).on("error", reject);
              stream.on("end", () => resolve(total.digest("hex")));
            });
            console.log((await Promise.all([one(), one(), one(), one()])).join(" "));
            session.close();
            """,
            f"https://{http2.name}",
            str(SIZE),
        )
        assert set(said.split()) == {content_sha256(SIZE)}

    def test_httpx(self, box: Box, http2: Place) -> None:
        said = box.python(
            """
            import hashlib, httpx, sys
            with httpx.Client(http2=True) as client:
                answer = client.post(sys.argv[1], content=b"x" * int(sys.argv[2]))
                print(answer.http_version, answer.text)
            """,
            f"https://{http2.name}/",
            str(SIZE),
        )
        assert said.split() == ["HTTP/2", "2.0", digest(b"x" * SIZE)]


@SCHEMES
class TestPython:
    def test_urllib(self, box: Box, web: Web, scheme: str) -> None:
        said = box.python(
            """
            import hashlib, sys, urllib.request
            with urllib.request.urlopen(sys.argv[1]) as answer:
                print(hashlib.sha256(answer.read()).hexdigest())
            """,
            web.url(f"/bytes/{SIZE}", scheme),
        )
        assert said.strip() == digest(content(SIZE))

    @pytest.mark.parametrize("client", ["httpx", "aiohttp"])
    def test_many_at_once(self, box: Box, web: Web, scheme: str, client: str) -> None:
        said = box.python(
            """
            import asyncio, sys

            async def httpx(url):
                import httpx
                async with httpx.AsyncClient() as client:
                    answers = await asyncio.gather(*(client.get(f"{url}/{number}") for number in range(50)))
                    return [answer.text for answer in answers]

            async def aiohttp(url):
                import aiohttp, ssl
                async with aiohttp.ClientSession() as client:
                    async def one(number):
                        async with client.get(f"{url}/{number}") as answer:
                            return await answer.text()
                    return await asyncio.gather(*map(one, range(50)))

            print(",".join(asyncio.run(globals()[sys.argv[1]](sys.argv[2]))))
            """,
            client,
            web.url("/hello", scheme),
        )
        assert said.strip() == ",".join(f"hello {number}" for number in range(50))

    def test_httpx_uploads_a_stream(self, box: Box, web: Web, scheme: str) -> None:
        box.python(
            """
            import httpx, sys
            httpx.post(sys.argv[1], content=(bytes([number]) * 10**5 for number in range(30))).raise_for_status()
            """,
            web.url("/upload", scheme),
        )
        assert web.arrived[-1].sha256 == digest(b"".join(bytes([number]) * 10**5 for number in range(30)))


@SCHEMES
class TestNodesFetch:
    def test_what_it_gets(self, box: Box, web: Web, scheme: str) -> None:
        said = box.node(
            """
            const { createHash } = require("node:crypto");
            const answer = await fetch(process.argv[1]);
            console.log(createHash("sha256").update(await answer.bytes()).digest("hex"));
            """,
            web.url(f"/chunks/{SIZE}", scheme),
        )
        assert said.strip() == digest(content(SIZE))

    def test_what_it_posts_as_a_stream(self, box: Box, web: Web, scheme: str) -> None:
        box.node(
            """
            const body = new ReadableStream({
              start(to) { for (let n = 0; n < 30; n++) to.enqueue(new Uint8Array(1e5).fill(n)); to.close(); },
            });
            const answer = await fetch(process.argv[1], { method: "POST", body, duplex: "half" });
            if (!answer.ok) throw new Error(answer.status);
            """,
            web.url("/upload", scheme),
        )
        assert web.arrived[-1].sha256 == digest(b"".join(bytes([number]) * 10**5 for number in range(30)))
