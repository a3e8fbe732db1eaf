# SPDX-License-Identifier: MIT
"""`import uwsgi`: bytes in and out, of the client and of other connections."""

import http.client
import pathlib
import re
import socket
import ssl
import threading

import pytest
import trustme
from harness import Server, server

HEAD = """
    import asyncio
    import os
    import socket
    import time

    import greenlet
    import uwsgi

    def answer(start, text):
        start("200 OK", [("Content-Type", "text/plain")])
        return [str(text).encode()]

    def error_of(call, *args, **kwargs):
        try:
            return call(*args, **kwargs)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
"""


def outcome(s: Server, path: str = "/") -> list[str]:
    answer = s.get(path)
    assert answer.status == 200, s.log
    return answer.text.split("|")


# --- to the client ---------------------------------------------------------


def test_send_before_start_response_is_raw() -> None:
    app = f"""{HEAD}
    def application(environ, start):
        uwsgi.send(b"HTTP/1.1 201 Made\\r\\nX-Mine: yes\\r\\n\\r\\none,")
        fd = uwsgi.connection_fd()
        assert uwsgi.send(fd, "two,") is True
        return [b"three"]
    """
    with server(app) as s:
        got = s.raw(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert got == b"HTTP/1.1 201 Made\r\nX-Mine: yes\r\n\r\none,two,three"


def test_send_after_start_response_is_framed() -> None:
    app = f"""{HEAD}
    def application(environ, start):
        start("200 OK", [("Content-Type", "text/plain")])
        for n in range(3):
            assert uwsgi.send(b"piece %d," % n) is True
        assert uwsgi.send(b"") is True
        return [b"end"]
    """
    with server(app) as s:
        answer = s.get()
        assert answer.headers["Transfer-Encoding"] == "chunked"
        assert answer.text == "piece 0,piece 1,piece 2,end"


def test_a_task_sends_to_the_request_that_was_handed_over() -> None:
    app = f"""{HEAD}
    def application(environ, start):
        start("200 OK", [("Content-Type", "text/plain")])
        context = uwsgi.request_context()
        me = greenlet.getcurrent()

        async def task():
            for n in range(3):
                await asyncio.sleep(0.01)
                uwsgi.send(b"%d," % n, request_context=context)
            # More than the socket takes: it would have to wait.
            text = error_of(uwsgi.send, b"x" * 50_000_000,
                            request_context=context)
            print(text, flush=True)
            me.switch()

        kept = asyncio.get_event_loop().create_task(task())
        uwsgi.suspend()
        return [b"never whole"]
    """
    with server(app) as s:
        with s.connect() as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            s.wait_for("RuntimeError: waiting for the client can only")
            with sock.makefile("rb") as file:
                got = file.read()
        body = got.partition(b"\r\n\r\n")[2]
        assert body.startswith(b"2\r\n0,\r\n2\r\n1,\r\n2\r\n2,\r\n")
        assert body.endswith(b"x") and len(body) < 50_000_000


def test_disconnect_ends_the_connection_and_not_the_request() -> None:
    """Nor does --cancel-on-disconnect, when the client closes its side."""
    app = f"""{HEAD}
    def application(environ, start):
        start("200 OK", [("Content-Type", "text/plain")])
        uwsgi.send(b"all of it" + b"." * 300_000)
        uwsgi.disconnect()
        print("disconnected", flush=True)
        uwsgi.async_sleep(0.3)
        assert uwsgi.send(b"dropped") is True
        print("worked on", flush=True)
        return [b"dropped"]
    """
    with server(app, "--cancel-on-disconnect") as s:
        body = s.get().body
        assert body == b"all of it" + b"." * 300_000
        s.wait_printed("disconnected", 1)
        s.wait_for("worked on")


def test_disconnect_without_an_answer() -> None:
    app = f"""{HEAD}
    def application(environ, start):
        if environ["PATH_INFO"] == "/close":
            uwsgi.close(uwsgi.connection_fd())
        else:
            uwsgi.disconnect()
        return answer(start, "too late")
    """
    with server(app, allow_traceback=True) as s:
        for path in ("disconnect", "close"):
            request = f"GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n"
            assert s.raw(request.encode()) == b""


# --- files -----------------------------------------------------------------


@pytest.fixture(scope="module")
def content() -> bytes:
    return bytes(range(256)) * 2000


def test_sendfile(content: bytes, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    app = f"""{HEAD}
    NAME = {str(path)!r}

    def application(environ, start):
        headers = [("Content-Type", "text/plain")]
        kind = environ["PATH_INFO"][1:]
        if kind == "early":
            return answer(start, error_of(uwsgi.sendfile, NAME))
        if kind == "length":
            headers.append(("Content-Length", "10"))
        start("200 OK", headers)
        if kind == "name":
            assert uwsgi.sendfile(NAME) is True
        elif kind == "part":
            uwsgi.send(b"before,")
            uwsgi.sendfile(NAME.encode(), 4096, 5, 3)
            uwsgi.sendfile(NAME, 0, {len(content)} - 1, 100)
            uwsgi.sendfile(NAME, 0, {len(content)} + 9)
        elif kind == "length":
            uwsgi.sendfile(NAME, 0, 0, 10)
        else:
            with open(NAME, "rb") as file:
                file.read(9)
                uwsgi.sendfile(file)
        return []
    """
    with server(app, allow_traceback=True) as s:
        for kind in ("name", "file"):
            assert s.get(f"/{kind}").body == content
        part = s.get("/part")
        assert part.body == b"before," + content[5:8] + content[-1:]
        length = s.get("/length")
        assert length.body == content[:10]
        assert length.headers["Content-Length"] == "10"
        head = s.request("HEAD", "/name")
        assert (head.status, head.body) == (200, b"")
        assert s.get("/early").text.startswith("RuntimeError: ")


def test_sendfile_refuses(tmp_path: pathlib.Path) -> None:
    app = f"""{HEAD}
    def application(environ, start):
        start("200 OK", [("Content-Type", "text/plain")])
        reader, writer = os.pipe()
        results = [
            error_of(uwsgi.sendfile, *args)
            for args in (("none",), (".",), ("app.py", 0, -1), (7.5,))
        ]
        with open(reader, "rb") as file, open(writer, "wb"):
            results.append(error_of(uwsgi.sendfile, file))
        return ["|".join(results).encode()]
    """
    with server(app) as s:
        kinds = [text.partition(":")[0] for text in outcome(s)]
        assert kinds == [
            *["FileNotFoundError", "OSError", "ValueError", "TypeError"],
            "OSError",
        ]


def test_a_file_that_shrinks_cuts_the_answer(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 40_000_000)
    app = f"""{HEAD}
    def application(environ, start):
        start("200 OK", [("Content-Type", "text/plain")])
        try:
            uwsgi.sendfile({str(path)!r})
        except OSError as error:
            print(error, flush=True)
            raise
        return []
    """
    with server(app, allow_traceback=True) as s:
        with s.connect() as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert sock.recv(1000)
            with open(path, "r+b") as file:
                file.truncate(1000)
            with sock.makefile("rb") as stream:
                assert not stream.read().endswith(b"0\r\n\r\n")
        s.wait_for("the file became shorter while it was sent")


# --- the body --------------------------------------------------------------

BODY_APP = f"""{HEAD}
    def application(environ, start):
        kind = environ["PATH_INFO"][1:]
        pieces = [str(uwsgi.cl()).encode()]
        if kind == "line":
            pieces.append(environ["wsgi.input"].readline())
        if kind == "nb":
            pieces.append(repr(uwsgi.chunked_read_nb()).encode())
            print("none yet", flush=True)
        if kind == "timeout":
            begin = time.monotonic()
            text = error_of(uwsgi.chunked_read, 0.1)
            return answer(start, f"{{text}}|{{time.monotonic() - begin:.2f}}")
        if kind == "recv":
            fd = uwsgi.connection_fd()
            while piece := uwsgi.recv(fd, 3):
                pieces.append(piece)
            assert piece is None
        while piece := uwsgi.chunked_read():
            pieces.append(piece)
        assert uwsgi.chunked_read() == uwsgi.chunked_read_nb() == b""
        start("200 OK", [("Content-Type", "text/plain")])
        return [b"|".join(pieces)]
"""


def slow_post(s: Server, path: str, *pieces: bytes) -> str:
    with s.connect() as sock:
        line = f"POST {path} HTTP/1.1\r\n".encode()
        sock.sendall(line + b"Host: a\r\nConnection: close\r\n")
        for piece in pieces:
            sock.sendall(piece)
            if piece.endswith(b"\r\n\r\n"):
                continue
            threading.Event().wait(0.05)
        with sock.makefile("rb") as file:
            return file.read().partition(b"\r\n\r\n")[2].decode()


def test_chunked_read() -> None:
    chunked = b"Transfer-Encoding: chunked\r\n\r\n"
    with server(BODY_APP) as s:
        got = slow_post(
            s, "/", chunked + b"3\r\none\r\n", b"5\r\ntwo\r\n\r\n0\r\n\r\n"
        )
        assert got == "0|one|two\r\n"
        length = b"Content-Length: 12\r\n\r\n"
        assert slow_post(s, "/", length, b"hello ", b"world!") == (
            "12|hello |world!"
        )
        assert slow_post(s, "/line", length, b"a\nb\nc\nd\ne\nf\n") == (
            "12|a\n|b\nc\nd\ne\nf\n"
        )
        assert slow_post(s, "/recv", length + b"hello world!") == (
            "12|hel|lo |wor|ld!"
        )
        text, seconds = slow_post(s, "/timeout", length).split("|")
        assert text.startswith("TimeoutError: ")
        assert 0.09 < float(seconds) < 5
        assert s.get("/").text == "0"


def test_chunked_read_nb() -> None:
    with server(BODY_APP) as s, s.connect() as sock:
        sock.sendall(
            b"POST /nb HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
            b"Content-Length: 4\r\n\r\n"
        )
        s.wait_for("none yet")
        sock.sendall(b"late")
        with sock.makefile("rb") as file:
            assert file.read().endswith(b"\r\n\r\n4|None|late")


# --- connections of the application's own ----------------------------------


def test_connections_of_the_applications_own(tmp_path: pathlib.Path) -> None:
    app = f"""{HEAD}
    def talk(fd):
        assert uwsgi.is_connected(fd)
        assert uwsgi.send(fd, b"ping") is True
        got = uwsgi.recv(fd)
        assert uwsgi.recv(fd, 10) is None
        uwsgi.close(fd)
        return got.decode()

    def application(environ, start):
        results = []
        for address in environ["QUERY_STRING"].split(","):
            results.append(talk(uwsgi.connect(address, 5)))
            fd = uwsgi.async_connect(address.encode())
            uwsgi.wait_fd_write(fd, 5)
            uwsgi.suspend()
            results.append(talk(fd))
        return answer(start, "|".join(results))
    """

    def serve(sock: socket.socket) -> None:
        while True:
            try:
                peer, _ = sock.accept()
            except OSError:
                return
            with peer:
                assert peer.recv(4) == b"ping"
                threading.Event().wait(0.02)
                peer.sendall(b"pong")

    tcp = socket.create_server(("127.0.0.1", 0))
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(tmp_path / "s"))
    unix.listen()
    for sock in (tcp, unix):
        threading.Thread(target=serve, args=(sock,), daemon=True).start()
    port = tcp.getsockname()[1]
    with tcp, unix, server(app) as s:
        query = f"127.0.0.1:{port},localhost:{port},{tmp_path / 's'}"
        assert outcome(s, f"/?{query}") == ["pong"] * 6
        for sock in (tcp, unix):
            sock.shutdown(socket.SHUT_RDWR)


def test_connect_that_fails() -> None:
    app = f"""{HEAD}
    def application(environ, start):
        full, port = environ["QUERY_STRING"].split(",")
        before = len(os.listdir("/proc/self/fd"))
        begin = time.monotonic()
        results = [
            uwsgi.connect(f"127.0.0.1:{{port}}"),
            uwsgi.connect("/no/such/socket"),
            uwsgi.connect(f"127.0.0.1:{{full}}", 0.2),
        ]
        results.append(0.19 < time.monotonic() - begin < 5)
        results += [
            error_of(uwsgi.connect, bad).partition(":")[0]
            for bad in ("nothing", "a:b", ":80", "h:70000", "/" + "x" * 200,
                        "no.such.host.invalid:80", 7)
        ]
        results.append(len(os.listdir("/proc/self/fd")) - before)
        return answer(start, "|".join(map(str, results)))
    """
    with socket.socket() as full, socket.socket() as closed:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        closed.bind(("127.0.0.1", 0))
        fillers = []
        for _ in range(3):  # until the queue of the kernel is full
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            fillers.append(filler)
        ports = full.getsockname()[1], closed.getsockname()[1]
        with server(app) as s:
            values = outcome(s, f"/?{ports[0]},{ports[1]}")
        for filler in fillers:
            filler.close()
    assert values[:4] == ["-1", "-1", "-1", "True"]
    assert values[4:9] == ["ValueError"] * 5
    assert values[9:] == ["gaierror", "TypeError", "0"]


def test_send_and_recv_park_only_the_request() -> None:
    """Also for sockets and pipes that would block."""
    app = f"""{HEAD}
    BYTES = 3_000_000
    pairs = []

    def application(environ, start):
        kind = environ["PATH_INFO"][1:]
        if kind == "send":
            writer = pairs[0][1]
            assert uwsgi.send(writer, b"x" * BYTES) is True
            uwsgi.close(writer)
            return answer(start, "sent")
        if kind == "socket":
            one, two = socket.socketpair()
            pairs[:] = [(one.detach(), two.detach())]
        else:
            pairs[:] = [os.pipe()]
        reader, total = pairs[0][0], 0
        print("receiving", flush=True)
        while piece := uwsgi.recv(reader, 65536):
            total += len(piece)
        uwsgi.close(reader)
        print("at once:", uwsgi.send(os.pipe()[1], b""), flush=True)
        return answer(start, total)
    """
    with server(app) as s:
        for number, kind in enumerate(("socket", "pipe"), 1):
            totals: list[str] = []
            reader = threading.Thread(
                target=lambda k=kind, t=totals: t.append(s.get(f"/{k}").text)
            )
            reader.start()
            s.wait_printed("receiving", number)
            assert s.get("/send").text == "sent"
            reader.join(20)
            assert totals == ["3000000"]


def test_the_other_side_is_gone() -> None:
    app = f"""{HEAD}
    def application(environ, start):
        one, two = socket.socketpair()
        two.close()
        results = [
            uwsgi.send(one.fileno(), b"x"),
            uwsgi.recv(one.fileno()),
            uwsgi.is_connected(one.fileno()),
        ]
        fd = one.fileno()
        one.close()
        results += [
            error_of(uwsgi.send, fd, b"x").partition(":")[0],
            error_of(uwsgi.recv, fd).partition(":")[0],
            error_of(uwsgi.close, fd).partition(":")[0],
            uwsgi.is_connected(fd),
            error_of(uwsgi.recv, 0, 0).partition(":")[0],
        ]
        return answer(start, "|".join(map(str, results)))
    """
    with server(app) as s:
        values = outcome(s)
        assert values[:2] == ["None", "None"]
        assert values[3:] == ["OSError"] * 3 + ["False", "ValueError"]


# --- what is kept with a request -------------------------------------------


def test_variables_of_a_request() -> None:
    app = f"""{HEAD}
    def application(environ, start):
        uwsgi.set_logvar("name", b"value")
        uwsgi.set_logvar(b"other", "\\u20ac")
        assert uwsgi.add_var("MADE", b"\\xff") is True
        results = [
            uwsgi.get_logvar(b"name"), uwsgi.get_logvar("other"),
            uwsgi.get_logvar("none"), environ["MADE"] == "\\xff",
            uwsgi.request_id(), uwsgi.cl(),
        ]
        return answer(start, "|".join(map(str, results)))
    """
    with server(app, "--asyncio", "1") as s:
        expected = ["b'value'", r"b'\xe2\x82\xac'", "None", "True"]
        assert outcome(s) == [*expected, "1", "0"]
        assert outcome(s) == [*expected, "2", "0"]


def test_sendfile_through_tls(content: bytes, tmp_path: pathlib.Path) -> None:
    """The kernel cannot encrypt here: the file is read piece by piece."""
    (tmp_path / "file").write_bytes(content)
    authority = trustme.CA()
    made = authority.issue_cert("localhost")
    made.private_key_and_cert_chain_pem.write_to_path(tmp_path / "pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    app = f"""{HEAD}
    def application(environ, start):
        start("200 OK", [("Content-Type", "text/plain")])
        uwsgi.sendfile({str(tmp_path / "file")!r}, 0, 7)
        return []
    """
    pem = tmp_path / "pem"
    with server(app, "--https-socket", f"127.0.0.1:0,{pem},{pem}") as s:
        s.wait_for("listening on https://")
        found = re.search(r"listening on https://[^:]+:(\d+)", s.err)
        assert found is not None
        client = http.client.HTTPSConnection(
            "localhost", int(found[1]), context=context, timeout=10
        )
        for method, body in (("GET", content[7:]), ("HEAD", b"")):
            client.request(method, "/")
            assert client.getresponse().read() == body
        client.close()
