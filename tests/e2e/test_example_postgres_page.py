# SPDX-License-Identifier: MIT
"""examples/postgres_page.py with a real PostgreSQL."""

import asyncio
import html
import re
import urllib.parse
from collections.abc import Iterator

import asyncpg
import pytest
from example_server import EXAMPLES, example
from harness import Server, parallel, run
from services import postgresql_server

POOL_SIZE = 8
NAME = re.compile(r"<dt>(\S+)<dd><code>(.*?)</code><dd>", re.DOTALL)


@pytest.fixture(scope="module")
def dsn() -> Iterator[str]:
    with postgresql_server() as dsn:
        yield dsn


def found(s: Server, about: str) -> dict[str, str]:
    """Name and value of the settings on the page about this."""
    query = urllib.parse.urlencode({"about": about}, errors="surrogateescape")
    answer = s.get(f"/?{query}")
    assert answer.status == 200
    rows = dict(NAME.findall(answer.text))
    assert f"<p>{len(rows)} found" in answer.text
    return rows


def ask(dsn: str, query: str) -> object:
    """One value, by a connection of the test's own."""

    async def fetch() -> object:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    return asyncio.run(fetch())


def test_search(dsn: str) -> None:
    with example("postgres_page", DSN=dsn) as s:
        assert found(s, "max_connections")["max_connections"] == "100"
        rows = found(s, "unix-domain socket")
        assert dsn.endswith(html.unescape(rows["unix_socket_directories"]))
        assert len(found(s, "")) == 50
        assert "max_connections" in s.get().text


def test_what_a_visitor_types_is_data(dsn: str) -> None:
    with example("postgres_page", DSN=dsn) as s:
        for about in ("' OR 1=1 --", '"><script>', "%_%", "{0}", "\udcff"):
            assert found(s, about) == {}
        assert len(found(s, "\0")) == 50
        page = s.get("/?about=%22%3E%3Cscript%3E").text
        assert html.escape('"><script>') in page
        assert "<script>" not in page


def test_pool_is_shared_and_closed(dsn: str) -> None:
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname IS NOT NULL"
    before = ask(dsn, others)
    with example("postgres_page", DSN=dsn) as s:
        rows = parallel(60, lambda _: found(s, "timeout"))
        assert rows == [rows[0]] * 60
        during = ask(dsn, others)
        assert isinstance(before, int) and isinstance(during, int)
        assert 1 <= during - before <= POOL_SIZE
    assert ask(dsn, others) == before


def test_without_postgresql() -> None:
    nowhere = "postgresql://test@/postgres?host=/nonexistent"
    path = EXAMPLES / "postgres_page.py"
    words = ["--http-socket", "127.0.0.1:0", "--wsgi-file", str(path)]
    done = run(*words, env={"DSN": nowhere})
    assert done.returncode == 22
    assert "open_pool" in done.stderr and "ready" not in done.stderr
