# SPDX-License-Identifier: MIT
"""start_server(): trusted_proxies, forwarded_headers, proxy_protocol."""

import asyncio
import contextlib
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from embedded import KINDS, Environ, StartResponse, run_on
from greenloop import _core, start_server

SECONDS = 20.0
HEADER = b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\n"
FIELDS = b"X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Host: a.example\r\n"


def tell(environ: Environ, start: StartResponse) -> Iterable[bytes]:
    start("200 OK", [("Content-Type", "text/plain")])
    return [f"{environ['REMOTE_ADDR']} {environ['HTTP_HOST']}".encode()]


async def ask(server: Any, before: bytes = b"") -> str:
    """The last line of the answer, or nothing."""
    sock = server.sockets[0]
    if isinstance(name := sock.getsockname(), str):
        reader, writer = await asyncio.open_unix_connection(name)
    else:
        reader, writer = await asyncio.open_connection(*name)
    with contextlib.suppress(ConnectionError):
        writer.write(before + b"GET / HTTP/1.1\r\nHost: own\r\n" + FIELDS)
        writer.write(b"Connection: close\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), SECONDS)
        writer.close()
        await writer.wait_closed()
        return answer.decode().rpartition("\r\n")[2]
    return ""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("options", "seen"),
    [
        ({}, "127.0.0.1 own"),
        ({"trusted_proxies": "127.0.0.1"}, "192.0.2.7 own"),
        ({"trusted_proxies": ["::1", "127.0.0.0/8"]}, "192.0.2.7 own"),
        ({"trusted_proxies": ("10.0.0.0/8", "unix")}, "127.0.0.1 own"),
        (
            {
                "trusted_proxies": "127.0.0.1",
                "forwarded_headers": "x-forwarded-host",
            },
            "127.0.0.1 a.example",
        ),
        (
            {
                "trusted_proxies": "127.0.0.1",
                "forwarded_headers": ["X-Forwarded-Host", "x-forwarded-for"],
            },
            "192.0.2.7 a.example",
        ),
    ],
)
def test_fields(kind: str, options: dict[str, Any], seen: str) -> None:
    async def main() -> None:
        server = await start_server(tell, "127.0.0.1:0", **options)
        async with server:
            assert await ask(server) == seen

    run_on(kind, main)


@pytest.mark.parametrize("kind", KINDS)
def test_proxy_protocol(kind: str) -> None:
    async def main() -> None:
        server = await start_server(
            tell,
            "127.0.0.1:0",
            trusted_proxies="127.0.0.1",
            proxy_protocol=True,
        )
        async with server:
            assert await ask(server, HEADER) == "192.0.2.1 own"
            assert await ask(server) == ""

    run_on(kind, main)


def test_unix_socket(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        path = str(tmp_path / "app.sock")
        server = await start_server(tell, path, trusted_proxies="unix")
        async with server:
            assert await ask(server) == "192.0.2.7 own"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("proxies", "headers", "text"),
    [
        ("", "", None),
        ("unix,10.0.0.0/8 , ::1", "x-forwarded-for,X-Forwarded-Proto", None),
        ("", "forwarded", None),
        ("localhost", "", "'localhost' is no IP address"),
        ("10.0.0.1/8", "", "'10.0.0.1/8' has bits set"),
        ("::/129", "", "'::/129' has no valid prefix length"),
        ("\N{SNOWMAN}", "", "'\N{SNOWMAN}' is no IP address"),
        ("", "x-forwarded-prefix", "the headers are"),
        ("", "forwarded,x-forwarded-for", "writes one kind"),
    ],
)
def test_check(proxies: str, headers: str, text: str | None) -> None:
    if text is None:
        _core.check_trust(proxies, headers)
        return
    with pytest.raises(ValueError, match=text):
        _core.check_trust(proxies, headers)


@pytest.mark.parametrize(
    "options",
    [
        {"trusted_proxies": "10.0.0.1/8"},
        {"trusted_proxies": ["::1", "nobody"]},
        {"forwarded_headers": "x-real-ip"},
        {"proxy_protocol": True},
    ],
)
def test_bad_arguments_leave_nothing_behind(
    tmp_path: pathlib.Path, options: dict[str, bool | str | Sequence[str]]
) -> None:
    path = str(tmp_path / "app.sock")

    async def main() -> None:
        arguments: dict[str, Any] = dict(options)
        with pytest.raises(ValueError):
            await start_server(tell, path, **arguments)
        # The address is free again.
        server = await start_server(tell, path)
        async with server:
            assert await ask(server) == " own"

    asyncio.run(main())
