# SPDX-License-Identifier: MIT
"""start_server(ssl=...): contexts and callbacks of the user's own."""

import asyncio
import contextlib
import socket
import ssl
import sys
from collections.abc import Iterable
from typing import Any

import greenloop
import pytest
import trustme
from embedded import KINDS, Environ, StartResponse, run_on


def hello(environ: Environ, start: StartResponse) -> Iterable[bytes]:
    start("200 OK", [("Content-Type", "text/plain")])
    return [environ["wsgi.url_scheme"].encode()]


def contexts() -> "tuple[ssl.SSLContext, ssl.SSLContext]":
    """For the server, and for a client that trusts it."""
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    pair = authority.issue_cert("localhost", key_type=trustme.KeyType.ECDSA)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair.configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


async def ask(server: Any, client: ssl.SSLContext) -> bytes:
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=client, server_hostname="localhost"
    )
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    got = await reader.read()
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()
    return got


@pytest.mark.parametrize("kind", KINDS)
def test_a_context_of_the_users(kind: str) -> None:
    context, client = contexts()

    async def main() -> None:
        async with await greenloop.start_server(
            hello, "127.0.0.1:0", ssl=context
        ) as server:
            assert (await ask(server, client)).endswith(b"https")

    run_on(kind, main)


def test_a_context_for_clients_is_refused() -> None:
    _, client = contexts()

    async def main() -> None:
        with pytest.raises(ValueError, match="made for clients"):
            await greenloop.start_server(hello, "127.0.0.1:0", ssl=client)

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", ["close", "close_now", "now"])
def test_a_callback_that_closes_the_server(kind: str, ending: str) -> None:
    """In the middle of the handshake of a connection that is closed by it."""
    context, client = contexts()

    async def main() -> None:
        server = await greenloop.start_server(
            hello, "127.0.0.1:0", ssl=context, graceful_timeout=1
        )

        def choose(*_args: object) -> None:
            if ending == "now":
                server._engine.drain()
                server._engine.throw_exit(True)  # closes what runs nothing
            else:
                getattr(server, ending)()

        context.sni_callback = choose
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await ask(server, client)
            raise ConnectionError("nothing came")
        with contextlib.suppress(RuntimeError):  # closed behind its back
            server.close()
        await server.wait_closed()

    run_on(kind, main)


@pytest.mark.parametrize("kind", ["run", "uvloop"])
def test_a_callback_that_fails(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is reported as the ssl module does it, and ends its connection."""
    context, client = contexts()
    heard: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", heard.append)

    def fail(*_args: object) -> None:
        raise LookupError("which one?")

    async def main() -> None:
        async with await greenloop.start_server(
            hello, "127.0.0.1:0", ssl=context
        ) as server:
            context.sni_callback = fail
            with pytest.raises(ssl.SSLError):
                await ask(server, client)
            context.sni_callback = None
            assert (await ask(server, client)).endswith(b"https")

    run_on(kind, main)
    assert [type(one.exc_value) for one in heard] == [LookupError]


def test_a_server_that_ends_with_handshakes_in_line() -> None:
    """Those that wait for a turn when the engine goes."""
    context, client = contexts()

    async def main() -> None:
        server = await greenloop.start_server(
            hello, "127.0.0.1:0", ssl=context, graceful_timeout=0.1
        )
        port = server.sockets[0].getsockname()[1]
        outgoing = ssl.MemoryBIO()
        tls = client.wrap_bio(
            ssl.MemoryBIO(), outgoing, server_hostname="localhost"
        )
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        said = outgoing.read()
        with contextlib.ExitStack() as stack:
            for _ in range(100):
                sock = stack.enter_context(
                    socket.create_connection(("127.0.0.1", port))
                )
                sock.sendall(said)
            await asyncio.sleep(0)
            server.close()
            await server.wait_closed()

    asyncio.run(main())
