# SPDX-License-Identifier: MIT
"""TLS on the wire: records cut and joined, ends, floods, old tricks."""

import contextlib
import hashlib
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest
import trustme
from certificates import (
    SECONDS,
    Authority,
    MemoryClient,
    ask,
    connect,
    https,
    records,
    tls_port,
)
from harness import Server, Stream, parallel, server
from services import program

APP = """
    import hashlib, time, greenloop

    def application(environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/cut":
            start_response("200 OK", [("Content-Type", "text/plain")])
            return cut()
        if path == "/short":
            start_response("200 OK", [("Content-Length", "100")])
            return [b"not so long"]
        if path == "/file":
            # 4096 bytes by fstat(), and a few by read().
            file = "/sys/kernel/uevent_seqnum"
            start_response("200 OK", [("X-Sendfile", file)])
            return []
        if path == "/digest":
            try:
                body = environ["wsgi.input"].read()
            except OSError as error:
                print("read failed:", type(error).__name__, flush=True)
                raise
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [hashlib.sha1(body).hexdigest().encode()]
        if path == "/ticks":
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"%d" % round(1e6 * ticks(float(environ["QUERY_STRING"])))]
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [path.encode()]

    def ticks(seconds):
        # The most that the server computed between two ticks of a timer.
        most, end = 0.0, time.monotonic() + seconds
        before = time.thread_time()
        while time.monotonic() < end:
            greenloop.sleep(0.002)
            now = time.thread_time()
            most, before = max(most, now - before), now
        return most

    def cut():
        yield b"begun"
        raise RuntimeError("and not ended")
"""
CLOSING = b"GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
GET = b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n"
VERSIONS = ["TLSv1_2", "TLSv1_3"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def s(
    request: pytest.FixtureRequest, authority: Authority
) -> Iterator[Server]:
    options = "--loop", request.param, "--x-sendfile", "/sys/kernel"
    with https(APP, authority, "", *options, allow_traceback=True) as (s, _):
        yield s
        assert s.err.count("Traceback") == s.err.count("and not ended\n")
        assert "Exception ignored" not in s.err


@pytest.fixture
def port(s: Server) -> int:
    return tls_port(s)


def client(authority: Authority, version: str = "TLSv1_3") -> ssl.SSLContext:
    context = authority.client()
    context.maximum_version = getattr(ssl.TLSVersion, version)
    return context


def still_well(port: int, authority: Authority) -> None:
    """The next connection knows nothing of the last one's errors."""
    for version in VERSIONS:
        with connect(port, client(authority, version)) as sock:
            assert ask(sock, "/well").endswith(b"/well")


# --- records -----------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_records_cut_at_every_byte(
    port: int, authority: Authority, version: str
) -> None:
    """Handshake and request, a segment a byte."""
    with MemoryClient(port, client(authority, version)) as c:

        def dribble() -> None:
            for byte in c.take():
                c.sock.sendall(bytes([byte]))

        while True:
            try:
                c.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                dribble()
                assert c.receive()
        dribble()
        c.tls.write(CLOSING % b"/x")
        dribble()
        assert c.read_all().endswith(b"/x")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_record_in_two_pieces_at_every_place(
    port: int, authority: Authority, version: str
) -> None:
    with MemoryClient(port, client(authority, version)) as c:
        c.shake()
        size = len(c.seal(GET % b"/0"))
        # What was sealed just now is lost: so a new one.
    for at in range(1, size, 7):
        with MemoryClient(port, client(authority, version)) as c:
            c.shake()
            sealed = c.seal(CLOSING % b"/cut-here")
            c.sock.sendall(sealed[:at])
            time.sleep(0.002)
            c.sock.sendall(sealed[at:])
            assert c.read_all().endswith(b"/cut-here")


def test_many_requests_in_one_record(port: int, authority: Authority) -> None:
    """What the SSL object holds back is announced by nobody."""
    with connect(port, client(authority)) as sock:
        sock.sendall(b"".join(GET % b"/%d" % n for n in range(100)))
        got = b""
        while not got.endswith(b"\r\n\r\n/99"):
            piece = sock.recv(65536)
            assert piece
            got += piece
    assert re.findall(rb"\r\n\r\n/(\d+)", got) == [
        b"%d" % n for n in range(100)
    ]


def test_many_records_in_one_segment(port: int, authority: Authority) -> None:
    with MemoryClient(port, client(authority)) as c:
        c.shake()
        body = bytes(range(256)) * 4
        head = b"POST /digest HTTP/1.1\r\nHost: a\r\nContent-Length: 1024\r\n"
        pieces = [head + b"\r\n"] + [
            body[n : n + 64] for n in range(0, 1024, 64)
        ]
        pieces += [GET % b"/after"]
        c.sock.sendall(b"".join(c.seal(piece) for piece in pieces))
        got = b""
        while not got.endswith(b"/after"):
            got += c.read()
    assert hashlib.sha1(body).hexdigest().encode() in got


@pytest.mark.parametrize("version", VERSIONS)
def test_a_flood_of_tiny_records(
    s: Server, port: int, authority: Authority, version: str
) -> None:
    """40,000 of a byte each: right, and others have their turns."""
    size = 40000
    body = bytes(n % 251 for n in range(size))
    most: list[int] = []

    def tick() -> None:
        most.append(int(s.get("/ticks?1.5").body))

    with MemoryClient(port, client(authority, version)) as c:
        c.shake()
        sealed = c.seal(
            b"POST /digest HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
            % size
        )
        for n in range(size):
            c.tls.write(body[n : n + 1])
        sealed += c.take()
        ticking = threading.Thread(target=tick)
        ticking.start()
        c.sock.sendall(sealed)
        assert hashlib.sha1(body).hexdigest().encode() in c.read()
        ticking.join()
    assert most[0] < 50_000


# --- ends --------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_only_a_whole_answer_is_ended_by_the_alert(
    s: Server, port: int, authority: Authority, version: str
) -> None:
    for path in ("/whole", "/cut", "/short", "/file"):
        whole = path == "/whole"
        with connect(port, client(authority, version)) as sock:
            sock.sendall(b"GET %s HTTP/1.0\r\n\r\n" % path.encode())
            got = b""
            try:
                while piece := sock.recv(65536):
                    got += piece
                ended = True
            except ssl.SSLEOFError:
                ended = False
        assert (path, ended) == (path, whole)
        assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    s.wait_for("could not be sent whole: the client sees it cut: GET /file")


@pytest.mark.parametrize("alert", [False, True])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_must_not_end_early(
    s: Server, port: int, authority: Authority, alert: bool, chunked: bool
) -> None:
    """Neither by a cut nor by the closing alert."""
    length = "Transfer-Encoding: chunked" if chunked else "Content-Length: 99"
    before = s.out.count("read failed")
    with MemoryClient(port, client(authority)) as c:
        c.shake()
        body = "5\r\nhello\r\n" if chunked else "hello"
        c.sock.sendall(
            c.seal(
                f"POST /digest HTTP/1.1\r\nHost: a\r\n{length}\r\n\r\n"
                f"{body}".encode()
            )
        )
        if alert:
            with contextlib.suppress(ssl.SSLWantReadError):
                c.tls.unwrap()
            c.sock.sendall(c.take())
        c.sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ssl.SSLError):
            assert b" 200 " not in c.read_all()
    s.wait_printed("read failed: ClientDisconnected", before + 1)


def test_an_answer_after_the_clients_closing_alert(
    port: int, authority: Authority
) -> None:
    """It may end its side and still read (RFC 8446, section 6.1); what
    follows its end is nothing."""
    with MemoryClient(port, client(authority)) as c:
        c.shake()
        sealed = c.seal(GET % b"/last")
        with contextlib.suppress(ssl.SSLWantReadError):
            c.tls.unwrap()
        sealed += c.take()
        c.sock.sendall(sealed + b"\x17\x03\x03\x00\x20" + b"x" * 32)
        got = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := c.sock.recv(65536):
                got += piece
    assert len(records(got)) >= 2  # the answer, and our alert
    still_well(port, authority)


def test_a_request_that_is_cut_off_after_its_end_is_answered(
    port: int, authority: Authority
) -> None:
    with MemoryClient(port, client(authority)) as c:
        c.shake()
        c.sock.sendall(c.seal(GET % b"/done"))
        c.sock.shutdown(socket.SHUT_WR)
        assert b"/done" in c.read_all()


# --- other peers -------------------------------------------------------------


@pytest.mark.parametrize("method", [b"GET", b"OPTIONS", b"PATCH"])
def test_plain_http_on_the_tls_port(port: int, method: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), SECONDS) as sock:
        sock.sendall(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 400 ")


def test_tls_on_the_plain_port(s: Server, authority: Authority) -> None:
    with pytest.raises(ssl.SSLError):
        connect(s.port, client(authority))
    assert s.get("/x").body == b"/x"


def test_noise_after_the_handshake(port: int, authority: Authority) -> None:
    for noise in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x17\x03\x03\xff\xff" + b"x" * 100,
        b"\x17\x03\x03\x00\x40" + b"x" * 64,
        b"\x16\x03\x03\x00\x04\x01\x00\x00\x00",
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"\x17\x03\x03\x00\x00" * 100,
    ):
        with MemoryClient(port, client(authority)) as c:
            c.shake()
            c.sock.sendall(noise)
            with contextlib.suppress(OSError):
                while c.sock.recv(65536):
                    pass
        still_well(port, authority)


def test_an_error_in_the_middle_of_a_request(
    port: int, authority: Authority
) -> None:
    """A bad record while the application waits for the body."""
    with MemoryClient(port, client(authority)) as c:
        c.shake()
        head = b"POST /digest HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
        c.sock.sendall(c.seal(head) + b"\x17\x03\x03\x00\x40" + b"x" * 64)
        with contextlib.suppress(OSError):
            while c.sock.recv(65536):
                pass
    still_well(port, authority)


@pytest.mark.parametrize("version", VERSIONS)
def test_handshakes_that_end_at_every_stage(
    s: Server, port: int, authority: Authority, version: str
) -> None:
    """By a FIN, a reset, noise, or an alert."""
    context = client(authority, version)
    with MemoryClient(port, context) as c:
        with pytest.raises(ssl.SSLWantReadError):
            c.tls.do_handshake()
        hello = c.take()
        c.sock.sendall(hello)
        assert c.receive()
        with contextlib.suppress(ssl.SSLWantReadError):
            c.tls.do_handshake()
        second = c.take()
    for at in {0, 1, 5, 6, len(hello) // 2, len(hello) - 1, len(hello)}:
        for how in ("fin", "reset", "noise", "alert"):
            with MemoryClient(port, context) as c:
                with pytest.raises(ssl.SSLWantReadError):
                    c.tls.do_handshake()
                c.sock.sendall(c.take()[:at])
                end(c.sock, how, second)
    still_well(port, authority)
    assert s.err.count("TLS handshakes failed") <= 1


def end(sock: socket.socket, how: str, second: bytes) -> None:
    with contextlib.suppress(OSError):
        if how == "fin":
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass
        elif how == "reset":
            linger = b"\x01\0\0\0\0\0\0\0"
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        elif how == "noise":
            sock.sendall(second + bytes(100))
        else:
            sock.sendall(b"\x15\x03\x03\x00\x02\x02\x30")  # unknown CA


def wait_for_echo(out: Stream, word: str, times: int) -> None:
    out.wait_for(lambda text: text.count(word) >= times, SECONDS)


def s_client(
    port: int, authority: Authority, typed: list[bytes], *options: str
) -> str:
    """What `openssl s_client` prints, until the server ends it or the Q.

    A command is one only if it comes alone: each waits for its echo.
    """
    words = [program("openssl"), "s_client", "-connect", f"127.0.0.1:{port}"]
    words += ["-CAfile", authority.ca_file, "-servername", "localhost"]
    process = subprocess.Popen(
        [*words, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdin is not None and process.stdout is not None
    out = Stream(process.stdout)
    echoes = {
        b"K\n": "KEYUPDATE",
        b"k\n": "KEYUPDATE",
        b"R\n": "RENEGOTIATING",
    }
    try:
        assert out.wait_for(lambda text: "Verify return" in text, SECONDS)
        echoed = 0
        for line in typed:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(line)
                process.stdin.flush()
            if line in echoes:
                echoed += 1
                wait_for_echo(out, echoes[line], echoed)
        process.wait(SECONDS)
    finally:
        process.kill()
        process.wait()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        out.close()
    return out.text


def test_renegotiation_is_refused(port: int, authority: Authority) -> None:
    said = s_client(port, authority, [b"R\n", b"Q\n"], "-tls1_2")
    assert "RENEGOTIATING" in said
    assert "no renegotiation" in said or "handshake failure" in said, said
    still_well(port, authority)


def test_new_keys(port: int, authority: Authority) -> None:
    """Asked for in the middle of a connection; the answer still comes."""
    request = CLOSING % b"/keys"
    said = s_client(
        port, authority, [b"K\n", b"k\n", b"K\n", request], "-tls1_3"
    )
    assert said.count("KEYUPDATE") == 3
    assert "/keys" in said, said


@pytest.mark.once
def test_a_flood_of_new_keys(
    s: Server, port: int, authority: Authority
) -> None:
    """Each costs both sides a derivation: a few are served, and no more."""
    said = s_client(port, authority, [b"K\n"] * 50, "-tls1_3")
    assert said.count("KEYUPDATE") > 30
    flood = [*[b"k\n"] * 1600, CLOSING % b"/flood"]
    said = s_client(port, authority, flood, "-tls1_3")
    assert said.count("KEYUPDATE") > 1000
    assert "/flood" not in said  # ended before, which a slow server tells late
    still_well(port, authority)


def test_no_early_data(
    port: int, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("session")
    saved, early = str(folder / "session"), folder / "early"
    request = CLOSING % b"/r"
    early.write_bytes(request)
    said = s_client(port, authority, [request], "-tls1_3", "-sess_out", saved)
    assert "Max Early Data: 0" in said
    said = s_client(
        port, authority, [request], "-tls1_3", "-sess_in", saved,
        "-early_data", str(early),
    )  # fmt: skip
    assert "Early data was accepted" not in said
    assert "Reused, TLSv1.3" in said and said.count("/r\r\n") <= 1, said


@pytest.mark.parametrize("version", VERSIONS)
def test_sessions_are_resumed(
    port: int, authority: Authority, version: str
) -> None:
    context = client(authority, version)
    with connect(port, context) as sock:
        assert not sock.session_reused and sock.compression() is None
        ask(sock, "/")
        session = sock.session
    with connect(port, context, session=session) as sock:
        assert sock.session_reused
        assert b"/again" in ask(sock, "/again")


# --- crowds ------------------------------------------------------------------


def test_a_burst_of_handshakes_leaves_turns_to_others(
    authority: Authority,
) -> None:
    """200 handshakes with an RSA key are a quarter of a second of work."""
    pair = authority.sign("rsa", "localhost", key_type=trustme.KeyType.RSA)
    with server(APP, "--https-socket", f"127.0.0.1:0,{pair}") as s:
        port = tls_port(s)
        with MemoryClient(port, client(authority)) as c:
            with pytest.raises(ssl.SSLWantReadError):
                c.tls.do_handshake()
            hello = c.take()
        most: list[int] = []
        ticking = threading.Thread(
            target=lambda: most.append(int(s.get("/ticks?2").body))
        )
        with contextlib.ExitStack() as stack:
            socks = [
                stack.enter_context(
                    socket.create_connection(("127.0.0.1", port), SECONDS)
                )
                for _ in range(200)
            ]
            ticking.start()
            for sock in socks:
                sock.sendall(hello)
            for sock in socks:
                assert sock.recv(1) == b"\x16"  # its turn came
            ticking.join()
        print(f"at most {most[0]} us between two ticks")
        assert most[0] < 40_000


def test_half_open_handshakes_leave_others_alone(
    authority: Authority,
) -> None:
    options = ("--http-headers-timeout", "2")
    with https(APP, authority, "", *options) as (_s, port):
        with MemoryClient(port, client(authority)) as c:
            with pytest.raises(ssl.SSLWantReadError):
                c.tls.do_handshake()
            hello = c.take()
        with contextlib.ExitStack() as stack:
            socks = [
                stack.enter_context(
                    socket.create_connection(("127.0.0.1", port), SECONDS)
                )
                for _ in range(500)
            ]
            for number, sock in enumerate(socks):
                sock.sendall(hello[: len(hello) * (number % 3) // 2])
            still_well(port, authority)
            for sock in socks:
                with contextlib.suppress(ConnectionResetError):
                    while sock.recv(65536):
                        pass  # until the deadline
        still_well(port, authority)


def test_good_and_bad_ones_at_once(port: int, authority: Authority) -> None:
    def one(number: int) -> bool:
        if number % 2:
            with socket.create_connection(("127.0.0.1", port)) as sock:
                sock.settimeout(SECONDS)
                with contextlib.suppress(OSError):
                    sock.sendall(b"\x16\x03\x01\x00\x05" + bytes(5) * number)
                    while sock.recv(4096):
                        pass
            return True
        with connect(port, client(authority)) as sock:
            return b"/mine" in ask(sock, "/mine")

    assert all(parallel(40, one))
