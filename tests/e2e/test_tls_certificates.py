# SPDX-License-Identifier: MIT
"""Certificates: named options, client certificates, SNI, renewal, errors."""

import datetime
import json
import os
import pathlib
import pty
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from typing import Any

import pytest
from certificates import SECONDS, Authority, ask, connect, https, tls_port
from harness import PROGRAM, finish, run, server, start

APP = """
    import json

    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({key: value for key, value in environ.items()
                            if isinstance(value, str)}).encode()]
"""
CONTEXT = """
    import os, ssl

    def made():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.environ["CERT"], os.environ["KEY"])
        return context

    ready = made()
    broken = 5
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def fails():
        raise LookupError("no certificate today")
"""
EVERYBODY = "127.0.0.1:0"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Another authority, which nobody asked."""
    return Authority(tmp_path_factory.mktemp("stranger"))


def environ(answer: bytes) -> dict[str, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), answer
    found: dict[str, str] = json.loads(body[body.index(b"{") :])
    return found


def refused(port: int, context: ssl.SSLContext, **more: Any) -> None:
    """No answer comes; TLS 1.3 tells only at the first read."""
    with (
        pytest.raises((ssl.SSLError, ConnectionError)),
        connect(port, context, **more) as sock,
    ):
        assert not ask(sock, "/")
        raise ConnectionError("nothing came")


# --- options -----------------------------------------------------------------


def test_options_by_name(authority: Authority) -> None:
    cert, key = authority.sign("named", "localhost").split(",")
    me = authority.sign("me", "me@example.org")
    with server(
        APP,
        *("--https-socket", EVERYBODY, "--certfile", cert, "--keyfile", key),
        *("--ca-certs", authority.ca_file, "--ciphers", "ECDHE+AESGCM"),
    ) as s:
        port = tls_port(s)
        refused(port, authority.client())
        context = authority.client(me)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with connect(port, context) as sock:
            found = environ(ask(sock, "/"))
        context.set_ciphers("ECDHE+CHACHA20")
        refused(port, context)
    assert found["SSL_CLIENT_VERIFY"] == "SUCCESS"
    assert "AES" in found["SSL_CIPHER"] and "GCM" in found["SSL_CIPHER"]


def test_one_file_for_certificate_and_key(authority: Authority) -> None:
    cert, key = authority.sign("both", "localhost").split(",")
    both = authority.folder / "both-in-one.pem"
    both.write_text(
        pathlib.Path(cert).read_text() + pathlib.Path(key).read_text()
    )
    both.chmod(0o600)
    options = ("--ssl-certfile", str(both), "--ca-certs", authority.ca_file)
    with server(
        APP,
        *("--https", EVERYBODY, *options),
        *("--client-certificates", "optional"),
    ) as s:
        with connect(tls_port(s), authority.client()) as sock:
            found = environ(ask(sock, "/"))
    assert found["SSL_CLIENT_VERIFY"] == "NONE"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("--https :0", "has no certificate: write ADDR,CERT,KEY, or give"),
        ("--https :0 --keyfile a", "--keyfile needs --certfile"),
        ("--http :0 --certfile a", "--certfile is for an --https-socket"),
        ("--https :0,a,b --certfile a", "--certfile is for an --https-socket"),
        ("--https :0,a,b --ssl-context a:b", "--ssl-context is for an"),
        ("--https :0 --certfile a --ssl-context b:c", "give one of them"),
        ("--https :0 --ssl-context b", "is written MODULE:NAME"),
        (
            "--https :0 --certfile a --client-certificates required",
            "needs --c",
        ),
        ("--https :0 --certfile a --client-certificates no", "is required or"),
        ("--http :0 --sni x", "--sni needs an --https-socket"),
        ("--https :0,a", "expected ADDR,CERT,KEY"),
        ("--https :0,a,b,,!", "no file after the !"),
        ("--https :0,a,b --sni=x", "expected NAME CERT,KEY"),
        ("--https :0,/nowhere,b", "cannot read the file /nowhere: No such"),
        ("--https :0,/,b", "cannot read the file /: Is a directory"),
    ],
)
def test_half_a_certificate_is_explained(words: str, text: str) -> None:
    ended = run(*words.split(" "), "--wsgi-file", str(PROGRAM))
    assert ended.returncode == 1
    assert text in ended.stderr
    assert "Traceback" not in ended.stderr


def test_bad_files_are_explained(
    authority: Authority, stranger: Authority
) -> None:
    pair = authority.sign("good", "localhost")
    cert, key = pair.split(",")
    other = stranger.sign("other", "localhost").split(",")[1]
    noise = authority.folder / "noise.pem"
    noise.write_text(
        "-----BEGIN CERTIFICATE-----\nzzz\n-----END CERTIFICATE-----\n"
    )
    for value, text in {
        f"{key},{key}": f"no CERTIFICATE in PEM form in the file {key}",
        f"{cert},{cert}": "there is no PRIVATE KEY in PEM form",
        f"{cert},{other}": "they do not belong together",
        f"{noise},{key}": "cannot use the certificate",
        f"{pair},nonsense": "there is no cipher in 'nonsense'",
        f"{pair},,{noise}": "cannot use the CA certificates",
    }.items():
        ended = run("--https", f":0,{value}", "--wsgi-file", str(PROGRAM))
        assert ended.returncode == 1
        assert text in ended.stderr, ended.stderr
        assert "Traceback" not in ended.stderr
    sni = f"x.example {pair},ECDHE"
    ended = run("--https", f":0,{pair}", "--sni", sni)
    assert "are those of the address" in ended.stderr


def test_a_key_that_may_not_be_read(authority: Authority) -> None:
    """By a user that is not root, for whom nothing is closed."""
    pair = authority.sign("closed", "localhost").split(",")
    with tempfile.TemporaryDirectory(prefix="greenloop-") as folder:
        os.chmod(folder, 0o755)
        cert, key = (shutil.copy(file, folder) for file in pair)
        os.chmod(cert, 0o644)
        os.chmod(key, 0)
        code = (
            "import os; from greenloop.tls import Pair, Plan\n"
            "if os.geteuid() == 0: os.setuid(65534)\n"
            f"try: Plan(Pair.of({cert!r}, {key!r})).context()\n"
            "except OSError as error: print(error)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        )
    assert done.stdout == f"cannot read the file {key}: Permission denied\n"


def test_an_encrypted_key_does_not_ask(authority: Authority) -> None:
    """Not even where there is a terminal."""
    cert, key = authority.sign("plain", "localhost").split(",")
    secret = authority.folder / "secret.key"
    subprocess.run(
        ["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:xyz"]
        + ["-out", str(secret)],
        check=True,
        timeout=SECONDS,
    )
    master, terminal = pty.openpty()
    try:
        done = subprocess.run(
            [str(PROGRAM), "--https", f":0,{cert},{secret}"]
            + ["--wsgi-file", str(PROGRAM)],
            stdin=terminal,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            start_new_session=True,
        )
    finally:
        os.close(master)
        os.close(terminal)
    assert done.returncode == 1
    assert f"the key {secret} is encrypted" in done.stderr
    assert "PEM pass phrase" not in done.stderr


# --- contexts of one's own ---------------------------------------------------


def own(authority: Authority) -> dict[str, Any]:
    cert, key = authority.sign("own", "localhost").split(",")
    return {
        "files": {"mycontext.py": CONTEXT},
        "env": {"CERT": cert, "KEY": key},
    }


@pytest.mark.parametrize("name", ["ready", "made"])
def test_a_context_of_ones_own(authority: Authority, name: str) -> None:
    words = ("--https", EVERYBODY, "--ssl-context", f"mycontext:{name}")
    with server(APP, *words, **own(authority)) as s:
        with connect(tls_port(s), authority.client()) as sock:
            assert environ(ask(sock, "/"))["HTTPS"] == "on"
        before = ssl.get_server_certificate(("127.0.0.1", tls_port(s)))
        authority.sign("own", "localhost")
        s.send_signal(signal.SIGHUP)
        s.wait_for("certificates read again")
        after = ssl.get_server_certificate(("127.0.0.1", tls_port(s)))
        assert (before != after) == (name == "made")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("broken", "cannot have a context from mycontext:broken"),
        ("client", "is made for clients"),
        ("fails", "no certificate today"),
        ("nothing", "has no attribute 'nothing'"),
    ],
)
def test_bad_contexts_are_explained(
    authority: Authority, tmp_path: pathlib.Path, name: str, text: str
) -> None:
    more = own(authority)
    (tmp_path / "mycontext.py").write_text(
        "\n".join(line[4:] for line in CONTEXT.splitlines())
    )
    ended = run(
        *("--https", EVERYBODY, "--ssl-context", f"mycontext:{name}"),
        *("--wsgi-file", "none.py"),
        cwd=tmp_path,
        env=more["env"],
    )
    assert ended.returncode == 1
    assert "--ssl-context: " in ended.stderr and text in ended.stderr


# --- client certificates -----------------------------------------------------


def test_facts_of_a_client_certificate(authority: Authority) -> None:
    pair = authority.sign(
        "client",
        "me@example.org",
        common_name='Zoë, of "X"/O=Admin',
        organization_name="Ex+ample",
    )
    with https(APP, authority, f",,!{authority.ca_file}") as (_s, port):
        with connect(port, authority.client(pair)) as sock:
            found = environ(ask(sock, "/"))
    name = found["SSL_CLIENT_S_DN"].encode("latin-1").decode()
    assert 'CN=Zoë\\, of \\"X\\"/O=Admin,' in name
    assert ",O=Ex\\+ample" in name
    assert '/CN=Zo\\xC3\\xAB, of "X"\\x2FO=Admin' in found["HTTPS_DN"]
    assert found["SSL_CLIENT_VERIFY"] == "SUCCESS"
    assert found["SSL_CLIENT_I_DN"] and int(found["SSL_CLIENT_M_SERIAL"], 16)
    assert found["SSL_CLIENT_V_START"].endswith("GMT")
    assert found["SSL_CLIENT_V_END"].endswith("GMT")
    shown = ssl.PEM_cert_to_DER_cert(found["SSL_CLIENT_CERT"])
    first = pathlib.Path(pair.split(",")[0]).read_text()
    assert shown == ssl.PEM_cert_to_DER_cert(first[: first.index("END") + 21])


def test_headers_cannot_forge_facts(authority: Authority) -> None:
    with https(APP, authority, f",,{authority.ca_file}") as (_s, port):
        with connect(port, authority.client()) as sock:
            sock.sendall(
                b"GET / HTTP/1.1\r\nHost: a\r\nSSL_CLIENT_VERIFY: SUCCESS\r\n"
                b"SSL-CLIENT-S-DN: CN=root\r\nHTTPS: off\r\n"
                b"HTTP-SSL-CLIENT-CERT: x\r\nConnection: close\r\n\r\n"
            )
            got = b""
            while piece := sock.recv(65536):
                got += piece
    found = environ(got)
    assert found["SSL_CLIENT_VERIFY"] == "NONE"
    assert found["HTTPS"] == "on"
    assert "SSL_CLIENT_S_DN" not in found and "SSL_CLIENT_CERT" not in found
    assert found["HTTP_SSL_CLIENT_S_DN"] == "CN=root"


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_no_way_around_a_required_certificate(
    authority: Authority, stranger: Authority, version: str
) -> None:
    """By no certificate, a strange one, another name, no name, a ticket of
    somebody who has one: all the names of an address share its rule."""
    one = authority.sign("one", "one.example")
    mine = authority.sign("mine", "me@example.org")
    strange = stranger.sign("strange", "me@example.org")
    now = datetime.datetime.now(datetime.timezone.utc)
    yesterday = now - datetime.timedelta(days=1)
    old = authority.sign("old", "me@example.org", not_after=yesterday)

    def client(pair: str | None = None) -> ssl.SSLContext:
        context = authority.client(pair)
        context.check_hostname = False
        context.maximum_version = getattr(ssl.TLSVersion, version)
        return context

    extra = f",,!{authority.ca_file}"
    sni = ("--sni", f"one.example {one}", "--sni", f"*.two.example {one}")
    with https(APP, authority, extra, *sni) as (s, port):
        for name in ("localhost", "one.example", "a.two.example", "x", None):
            for pair in (None, strange, old):
                refused(port, client(pair), name=name)
            with connect(port, client(mine), name) as sock:
                # The name of the Host field is nothing that TLS knows.
                found = environ(ask(sock, "/", "other.example"))
            assert found["SSL_CLIENT_VERIFY"] == "SUCCESS"
            assert found.get("SSL_TLS_SNI") == name
        assert s.logged("TLS handshakes failed") == 1
        assert "Traceback" not in s.err


def test_a_strange_certificate_is_refused_where_none_is_needed(
    authority: Authority, stranger: Authority
) -> None:
    strange = stranger.sign("strange", "me@example.org")
    with https(APP, authority, f",,{authority.ca_file}") as (_s, port):
        refused(port, authority.client(strange))
        with connect(port, authority.client()) as sock:
            assert environ(ask(sock, "/"))["SSL_CLIENT_VERIFY"] == "NONE"


# --- names -------------------------------------------------------------------


def test_names_have_their_certificates(authority: Authority) -> None:
    one = authority.sign("one", "one.example")
    star = authority.sign("star", "*.two.example")
    sni = ("--sni", f"one.example {one}", "--sni", f"*.two.example {star}")
    with https(APP, authority, "", *sni) as (_s, port):
        for name in ("localhost", "one.example", "a.two.example"):
            with connect(port, authority.client(), name) as sock:
                found = environ(ask(sock, "/"))  # the name was checked
            assert found["SSL_TLS_SNI"] == name


@pytest.mark.parametrize("name", [b"\xff\xfe\xfdxample", b"a\r\nb-xample"])
def test_odd_names_are_no_news(authority: Authority, name: bytes) -> None:
    with https(APP, authority) as (s, port):
        for _ in range(3):
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            context = authority.client()
            context.check_hostname = False
            tls = context.wrap_bio(
                incoming, outgoing, server_hostname="a" * (len(name) - 1) + "b"
            )
            with pytest.raises(ssl.SSLWantReadError):
                tls.do_handshake()
            hello = outgoing.read()
            odd = hello.replace(b"a" * (len(name) - 1) + b"b", name)
            assert odd != hello
            with socket.create_connection(("127.0.0.1", port)) as sock:
                sock.settimeout(SECONDS)
                sock.sendall(odd)
                assert sock.recv(5)[0] in (21, 22)  # an alert, or an answer
        with connect(port, authority.client()) as sock:
            environ(ask(sock, "/"))
        assert "Exception ignored" not in s.err
        assert s.err.count("TLS handshakes failed") <= 1


# --- renewal -----------------------------------------------------------------


def test_certificates_are_read_again_on_hup(authority: Authority) -> None:
    with https(APP, authority) as (s, port):
        before = ssl.get_server_certificate(("127.0.0.1", port))
        with connect(port, authority.client()) as old:
            authority.sign("main", "localhost", "127.0.0.1")
            s.send_signal(signal.SIGHUP)
            s.wait_for("certificates read again")
            environ(ask(old, "/"))  # goes on with what it began with
        after = ssl.get_server_certificate(("127.0.0.1", port))
        (authority.folder / "main.pem").write_text("no certificate")
        s.send_signal(signal.SIGHUP)
        s.wait_for("the old certificates stay in use")
        assert ssl.get_server_certificate(("127.0.0.1", port)) == after
    assert before != after


def test_renewal_is_all_or_nothing(authority: Authority) -> None:
    one = authority.sign("one", "one.example")
    second = authority.sign("second", "localhost")
    words = ("--sni", f"one.example {one}", "--https", f":0,{second}")
    with https(APP, authority, "", *words) as (s, port):
        before = ssl.get_server_certificate(("127.0.0.1", port))
        authority.sign("main", "localhost", "127.0.0.1")
        key = authority.folder / "second.key"
        good = key.read_text()
        authority.sign("second", "localhost")
        key.write_text(good)  # half a renewal
        s.send_signal(signal.SIGHUP)
        s.wait_for("do not belong together; the old certificates stay in use")
        assert ssl.get_server_certificate(("127.0.0.1", port)) == before
        authority.sign("second", "localhost")
        s.send_signal(signal.SIGHUP)
        s.wait_for("certificates read again")
        assert ssl.get_server_certificate(("127.0.0.1", port)) != before


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_ca_that_was_taken_away_is_trusted_no_more(
    authority: Authority, stranger: Authority, version: str
) -> None:
    """Nor is a session that one of its certificates has opened."""
    theirs = stranger.sign("theirs", "me@example.org")
    cas = authority.folder / "cas.pem"
    ours_only = pathlib.Path(authority.ca_file).read_text()
    cas.write_text(ours_only + pathlib.Path(stranger.ca_file).read_text())
    context = authority.client(theirs)
    context.maximum_version = getattr(ssl.TLSVersion, version)
    with https(APP, authority, f",,!{cas}") as (s, port):
        with connect(port, context) as sock:
            environ(ask(sock, "/"))
            session = sock.session
        with connect(port, context, session=session) as sock:
            assert environ(ask(sock, "/"))["SSL_SESSION_RESUMED"] == "Resumed"
        cas.write_text(ours_only)
        s.send_signal(signal.SIGHUP)
        s.wait_for("certificates read again")
        refused(port, context)
        refused(port, context, session=session)


def test_relative_files_survive_a_change_of_folder(
    authority: Authority, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "app.py").write_text(
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [b'{}']\n"
    )
    cert, key = authority.sign("rel", "localhost").split(",")
    for name in (cert, key):
        os.link(name, tmp_path / pathlib.Path(name).name)
    s = start(
        *("--https", "127.0.0.1:0,rel.pem,rel.key", "--chdir", "sub"),
        *("--wsgi-file", "app.py"),
        directory=tmp_path,
    )
    s.send_signal(signal.SIGHUP)
    s.wait_for("certificates read again")
    finish(s)


# --- the page ----------------------------------------------------------------


def page() -> tuple[list[list[str]], str]:
    """The commands of docs/tls.md, and the module that it shows."""
    path = pathlib.Path(__file__).resolve().parents[2] / "docs" / "tls.md"
    text = path.read_text("utf-8")
    lines = re.findall(r"^greenloop (.*)$", text, re.M)
    module = re.search(r"^```\n(import ssl\n.*?)^```$", text, re.M | re.DOTALL)
    assert module is not None
    return [shlex.split(line) for line in lines], module[1]


@pytest.mark.parametrize("number", range(len(page()[0])))
def test_what_the_page_says_works(authority: Authority, number: int) -> None:
    words = [
        re.sub(r"^:8443", "127.0.0.1:0", word) for word in page()[0][number]
    ]
    cert, key = authority.sign("page", "localhost").split(",")
    files = {
        "app.py": APP,
        "cert.pem": pathlib.Path(cert).read_text(),
        "key.pem": pathlib.Path(key).read_text(),
        "ca.pem": pathlib.Path(authority.ca_file).read_text(),
        "settings.py": f"def read_password():\n    return ''\n{page()[1]}",
    }
    me = authority.client(authority.sign("me", "me@example.org"))
    with server(None, *words, files=files) as s:
        with connect(tls_port(s), me) as sock:
            found = environ(ask(sock, "/"))
    required = "--ca-certs" in words
    assert found.get("SSL_CLIENT_VERIFY") == ("SUCCESS" if required else None)
