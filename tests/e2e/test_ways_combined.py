# SPDX-License-Identifier: MIT
"""Ways in that meet: uwsgi packets, files, PROXY headers, limits, TLS."""

import pathlib
import socket
from collections.abc import Iterator

import pytest
from certificates import Authority, https
from certificates import ask as ask_sealed
from harness import Server, server
from packets import ask, open_uwsgi, packet, variables
from wire import open_wire, request, wait_until

APP = """
    import greenloop

    def application(environ, start_response):
        if environ["PATH_INFO"] == "/send":
            start_response("200 OK", [("X-Sendfile", environ["HTTP_X_FILE"])])
            return []
        if environ["PATH_INFO"] == "/sleep":
            print("sleeping", flush=True)
            greenloop.sleep(600)
        start_response("200 OK", [])
        return [environ[key].encode() + b"|"
                for key in ("REMOTE_ADDR", "wsgi.url_scheme", "PATH_INFO")]
"""
PROXY = b"PROXY TCP4 192.0.2.99 198.51.100.1 4711 80\r\n"
UWSGI = ("--socket", "127.0.0.1:0", "--graceful-timeout", "1")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("files")
    (folder / "100%.txt").write_text("0123456789")
    (folder / "a b.txt").write_text("spaced")
    return folder


@pytest.fixture(scope="module")
def shared(files: pathlib.Path) -> Iterator[Server]:
    options = ("--static-map", f"/s={files}", "--x-sendfile", str(files))
    with server(APP, *UWSGI, *options, http=None) as s:
        yield s


def test_the_path_of_a_packet_is_decoded_already(shared: Server) -> None:
    assert ask(shared, {"PATH_INFO": "/s/100%.txt"}).body == b"0123456789"
    assert ask(shared, {"PATH_INFO": "/s/a b.txt"}).body == b"spaced"
    for path in ("/s/a%20b.txt", "/s/../app.py"):  # left to the application
        assert ask(shared, {"PATH_INFO": path}).body.endswith(
            path.encode() + b"|"
        )


@pytest.mark.parametrize("path", ["/s/100%.txt", "/send"])
def test_conditions_and_ranges_of_packets(
    shared: Server, files: pathlib.Path, path: str
) -> None:
    usual = {"PATH_INFO": path, "HTTP_X_FILE": str(files / "100%.txt")}
    whole = ask(shared, usual)
    assert (whole.status, whole.body) == (200, b"0123456789")
    tag = whole.field("ETag") or ""
    part = ask(shared, {**usual, "HTTP_RANGE": "bytes=2-3"})
    assert (part.status, part.body) == (206, b"23")
    stale = {"HTTP_RANGE": "bytes=2-3", "HTTP_IF_RANGE": '"other"'}
    assert ask(shared, {**usual, **stale}).body == b"0123456789"
    assert ask(shared, {**usual, "HTTP_IF_NONE_MATCH": tag}).status == 304
    assert ask(shared, {**usual, "HTTP_IF_MATCH": '"no"'}).status == 412
    head = ask(shared, {**usual, "REQUEST_METHOD": "HEAD"})
    assert (head.field("Content-Length"), head.body) == ("10", b"")


def test_a_proxy_header_before_a_packet() -> None:
    """What the packet itself says of the client counts."""
    options = ("--enable-proxy-protocol", "--trusted-proxies", "127.0.0.1")
    with server(APP, *UWSGI, *options, http=None) as s:
        pairs = variables()
        unsaid = [pair for pair in pairs if not pair[0].startswith("REMOTE")]
        answers = []
        for one in (pairs, unsaid):
            with open_uwsgi(s) as wire:
                wire.drip(PROXY + packet(one))
                answers.append(wire.reply().body)
        assert answers == [b"192.0.2.7|http|/|", b"192.0.2.99|http|/|"]


def test_fields_of_a_packet_are_the_clients_own() -> None:
    """nginx passes them on: only its variables tell of the client."""
    with server(APP, *UWSGI, "--trusted-proxies", "127.0.0.1", http=None) as s:
        forged = {
            "HTTP_X_FORWARDED_FOR": "198.51.100.9",
            "HTTP_X_FORWARDED_PROTO": "https",
        }
        assert ask(s, forged).body == b"192.0.2.7|http|/|"


def test_packets_beyond_the_limit_get_503() -> None:
    limit = ("--max-connections", "1", "--max-connections-reject")
    with server(APP, *UWSGI, *limit, http=None) as s, open_uwsgi(s) as first:
        first.send(packet(variables({"PATH_INFO": "/sleep"})))
        s.wait_for("sleeping")
        with open_uwsgi(s) as second:
            assert second.rest().startswith(b"HTTP/1.1 503 ")


def test_a_proxy_header_before_tls_and_a_file(
    tmp_path: pathlib.Path, files: pathlib.Path
) -> None:
    authority = Authority(tmp_path)
    options = (
        *("--enable-proxy-protocol", "--trusted-proxies", "127.0.0.1"),
        *("--static-map", f"/s={files}"),
    )
    wanted = {"/": b"192.0.2.99|https|/|", "/s/a%20b.txt": b"spaced"}
    with https(APP, authority, "", *options) as (_s, port):
        for path, body in wanted.items():
            plain = socket.create_connection(("127.0.0.1", port), 20)
            plain.sendall(PROXY)
            context = authority.client()
            with context.wrap_socket(plain, server_hostname="localhost") as w:
                assert ask_sealed(w, path).endswith(b"\r\n\r\n" + body)


def test_static_files_while_all_cores_sleep(files: pathlib.Path) -> None:
    options = ("--asyncio", "1", "--static-map", f"/s={files}")
    with server(APP, *UWSGI, *options, "--queue-timeout", "1") as s:
        with open_wire(s) as busy, open_wire(s) as late:
            busy.send(request("GET", "/sleep"))
            s.wait_for("sleeping")
            late.send(request("GET", "/"))
            wait_until(
                lambda: ask(s, {"PATH_INFO": "/s/a b.txt"}).status == 200,
                "a file needs no core",
            )
            with open_wire(s) as other:
                assert other.get("/s/a%20b.txt").body == b"spaced"
            assert late.reply().status == 503
