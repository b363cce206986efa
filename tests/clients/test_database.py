"""PostgreSQL clients, which begin in the clear and go over to TLS: all of them check the server's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.clients.box import MEGABYTE
from tests.clients.servers.postgres import PASSWORD, USER

if TYPE_CHECKING:
    from tests.clients.box import Box, Place


@pytest.fixture
def url(database: Place) -> str:
    password = PASSWORD.replace(" ", "%20")
    return f"postgresql://{USER}:{password}@{database.name}:{database.ports[0]}/postgres?sslmode=verify-full"


ENCRYPTED = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


def test_psql(box: Box, url: str, database: Place) -> None:
    assert box.run("psql", "-At", "-c", ENCRYPTED, url) == "t|TLSv1.3\n"
    last = box.ended()
    assert (last.decision, last.name, last.dialled) == ("allow", database.name, database.address)


def test_psql_copies_both_ways(box: Box, url: str) -> None:
    script = """
        head -c "$2" /dev/urandom | base64 -w 100 >/tmp/lines; sha256sum </tmp/lines
        psql -q -c 'CREATE TABLE lines (line text)' "$1"
        psql -q -c '\\copy lines FROM STDIN' "$1" </tmp/lines
        psql -q -c '\\copy lines TO STDOUT' "$1" | sha256sum
        psql -q -c 'DROP TABLE lines' "$1"
    """
    sent, received = box.run("sh", "-ec", script, "-", url, str(8 * MEGABYTE)).splitlines()
    assert sent == received


def test_pg_dump(box: Box, url: str) -> None:
    box.run("psql", "-q", "-c", "CREATE TABLE dumped AS SELECT 'a row of it' AS text", url)
    assert "a row of it" in box.run("pg_dump", "--table=dumped", url)
    box.run("psql", "-q", "-c", "DROP TABLE dumped", url)


def test_psycopg_and_a_cancel_which_is_another_connection(box: Box, url: str) -> None:
    said = box.python(
        f"""
        import psycopg, sys, threading
        with psycopg.connect(sys.argv[1]) as connection:
            print(connection.execute("{ENCRYPTED}").fetchone())
            threading.Timer(0.3, connection.cancel).start()
            try:
                connection.execute("SELECT pg_sleep(30)")
            except psycopg.errors.QueryCanceled as error:
                print("cancelled")
        """,
        url,
    )
    assert said.splitlines() == ["(True, 'TLSv1.3')", "cancelled"]


def test_asyncpg_with_a_pool_and_a_notice(box: Box, url: str) -> None:
    said = box.python(
        """
        import asyncio, asyncpg, sys

        async def main():
            async with asyncpg.create_pool(sys.argv[1], min_size=10, max_size=10) as pool:
                answers = await asyncio.gather(*(pool.fetchval("SELECT $1::int * 2", n) for n in range(100)))
                print(sum(answers))
                heard = asyncio.get_running_loop().create_future()
                async with pool.acquire() as one:
                    await one.add_listener("news", lambda *news: heard.set_result(news[3]))
                    await pool.execute("NOTIFY news, 'of the other connection'")
                    print(await heard)
                    await one.reset()

        asyncio.run(main())
        """,
        url,
    )
    assert said.splitlines() == [str(sum(range(100)) * 2), "of the other connection"]


def test_nodes_pg(box: Box, url: str) -> None:
    said = box.node(
        f"""
        const client = new (require("pg").Client)({{ connectionString: process.argv[1] }});
        await client.connect();
        console.log(JSON.stringify((await client.query("{ENCRYPTED}")).rows));
        await client.end();
        """,
        url,
    )
    assert said.strip() == '[{"ssl":true,"version":"TLSv1.3"}]'
