# SPDX-License-Identifier: MIT
"""Behind a real HAProxy, by the configurations of docs/haproxy.md."""

import contextlib
import http.client
import json
import pathlib
import re
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
import trustme
from harness import Server, server
from services import haproxy

ROOT = pathlib.Path(__file__).resolve().parents[2]
APP = """
    import json

    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({key: value for key, value in environ.items()
                            if isinstance(value, str)}).encode()]
"""
FORGED = {
    "X-Forwarded-For": "6.6.6.6",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "666",
    "X-Forwarded-Ssl": "on",
    "Forwarded": "for=6.6.6.6;proto=https;host=evil.example",
}
# More checks than one in a second, so that the tests need not wait.
CHECKS = "check inter 50ms fastinter 50ms downinter 50ms"
SECONDS = 20.0


def documented(heading: str) -> tuple[str, list[str]]:
    """The configuration and the server's options under a heading."""
    page = (ROOT / "docs" / "haproxy.md").read_text("utf-8")
    section = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    config = re.search(r"```haproxy\n(.*?)```", section, re.DOTALL)
    command = re.search(r"```sh\ngreenloop (.*?)\n```", section)
    assert config is not None and command is not None
    words = command[1].split()
    at = words.index("--wsgi-file")
    return config[1], words[:at] + words[at + 2 :]


def with_address(options: list[str], name: str, value: str) -> list[str]:
    """The options, with another value for one of them."""
    at = options.index(name)
    return [*options[: at + 1], value, *options[at + 2 :]]


class Authority:
    """What signs, a certificate for 127.0.0.1, and files of both."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.ca = trustme.CA()
        made = self.ca.issue_cert("127.0.0.1", common_name="127.0.0.1")
        self.cert, self.key = folder / "cert.pem", folder / "key.pem"
        self.both = folder / "site.pem"
        self.cert.write_bytes(
            b"".join(b.bytes() for b in made.cert_chain_pems)
        )
        made.private_key_pem.write_to_path(str(self.key))
        made.private_key_and_cert_chain_pem.write_to_path(str(self.both))

    def client(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("site"))


def ask(
    port: int, context: ssl.SSLContext | None = None, **headers: str
) -> tuple[dict[str, Any], tuple[str, int]]:
    """The environ of a request through a port, and the client's address."""
    client: http.client.HTTPConnection
    if context is None:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    else:
        client = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=SECONDS, context=context
        )
    with contextlib.closing(client):
        client.connect()
        name = client.sock.getsockname()
        client.request("GET", "/", headers=headers)
        answer = client.getresponse()
        body = answer.read()
        assert answer.status == 200, body
    environ: dict[str, Any] = json.loads(body)
    return environ, name


def unforged(environ: dict[str, Any]) -> bool:
    """Whether no forged field took effect, though they all came."""
    return (
        environ["REMOTE_ADDR"] == "127.0.0.1"
        and environ["HTTP_HOST"].startswith("127.0.0.1:")
        and environ["SERVER_PORT"] != "666"
        and environ["HTTP_X_FORWARDED_HOST"] == "evil.example"
        and environ["HTTP_FORWARDED"].startswith("for=6.6.6.6")
        and "6.6.6.6" in environ["HTTP_X_FORWARDED_FOR"]
    )


def first_port(s: Server) -> int:
    """The port of the only listener, whatever is spoken there."""
    found = re.search(r"listening on https?://[^:]+:(\d+)", s.err)
    assert found is not None, s.log
    return int(found[1])


# --- HTTP ------------------------------------------------------------------


@contextlib.contextmanager
def by_http(authority: Authority) -> Iterator[tuple[Server, list[int]]]:
    config, options = documented("HTTP")
    options = with_address(options, "--http-socket", "127.0.0.1:0")
    with server(APP, *options, http=None) as s:
        config = config.replace("127.0.0.1:9090", f"127.0.0.1:{s.port}")
        config = config.replace("/etc/haproxy/site.pem", str(authority.both))
        with haproxy(config, ":80", ":443") as ports:
            yield s, ports


def test_http(authority: Authority) -> None:
    with by_http(authority) as (s, (plain, tls)):
        for port, context, scheme in (
            (plain, None, "http"),
            (tls, authority.client(), "https"),
        ):
            environ, _name = ask(port, context)
            assert environ["REMOTE_ADDR"] == "127.0.0.1"
            assert environ["REMOTE_PORT"] == ""
            assert environ["wsgi.url_scheme"] == scheme
            assert environ.get("HTTPS") == ("on" if port == tls else None)
            forged, _name = ask(port, context, **FORGED)
            assert forged["wsgi.url_scheme"] == scheme
            assert forged["HTTP_X_FORWARDED_PROTO"] == scheme
            # 127.0.0.1 is a trusted proxy's here: the walk goes on to what
            # the client wrote.
            assert forged["REMOTE_ADDR"] == "6.6.6.6"
        assert "PROXY" not in s.err


def test_http_from_a_client_that_is_no_proxy(authority: Authority) -> None:
    """The documented one, where the client's address is another one."""
    config, options = documented("HTTP")
    options = with_address(options, "--http-socket", "127.0.0.1:0")
    options = with_address(options, "--trusted-proxies", "127.0.0.9")
    with server(APP, *options, http=None) as s:
        config = config.replace(
            "127.0.0.1:9090 check",
            f"127.0.0.1:{s.port} source 127.0.0.9",
        )
        config = config.replace("/etc/haproxy/site.pem", str(authority.both))
        with haproxy(config, ":80", ":443") as (plain, tls):
            environ, _name = ask(tls, authority.client(), **FORGED)
            assert unforged(environ)
            assert environ["wsgi.url_scheme"] == "https"
            environ, _name = ask(plain, **FORGED)
            assert unforged(environ)
            assert environ["wsgi.url_scheme"] == "http"
            direct, _name = ask(s.port, **FORGED)
            assert unforged(direct)
            assert direct["wsgi.url_scheme"] == "http"


# --- TCP -------------------------------------------------------------------


@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2"])
def test_tcp(version: str) -> None:
    config, options = documented("TCP")
    options = with_address(options, "--http-socket", "127.0.0.1:0")
    options = with_address(options, "--trusted-proxies", "127.0.0.9")
    with server(APP, *options, http=None) as s:
        config = config.replace(
            "127.0.0.1:9090 check send-proxy-v2",
            f"127.0.0.1:{s.port} source 127.0.0.9 {version}",
        )
        with haproxy(config, ":80") as (port,):
            environ, name = ask(port, **FORGED)
            assert unforged(environ)
            assert environ["REMOTE_PORT"] == str(name[1])
            assert environ["wsgi.url_scheme"] == "http"
            assert "HTTPS" not in environ
        s.wait_for("] 127.0.0.1 () {")


def test_tls_that_passes_through(authority: Authority) -> None:
    config, options = documented("TLS that HAProxy does not open")
    pair = f"127.0.0.1:0,{authority.cert},{authority.key}"
    options = with_address(options, "--https-socket", pair)
    options = with_address(options, "--trusted-proxies", "127.0.0.9")
    with server(APP, *options, http=None) as s:
        config = config.replace(
            "127.0.0.1:8443 check",
            f"127.0.0.1:{first_port(s)} source 127.0.0.9",
        )
        with haproxy(config, ":443") as (port,):
            environ, name = ask(port, authority.client(), **FORGED)
            assert unforged(environ)
            assert environ["REMOTE_PORT"] == str(name[1])
            assert environ["wsgi.url_scheme"] == "https"
            assert environ["SSL_PROTOCOL"].startswith("TLS")


# --- a Unix socket ---------------------------------------------------------


def test_unix_socket(tmp_path: pathlib.Path) -> None:
    config, options = documented("A Unix socket")
    path = str(tmp_path / "app.sock")
    options = with_address(options, "--http-socket", path)
    with server(APP, *options, http=None) as s:
        config = config.replace("/run/app/app.sock", path)
        with haproxy(config, ":80") as (port,):
            environ, _name = ask(port, **FORGED)
            assert unforged(environ)
            assert environ["wsgi.url_scheme"] == "http"
        s.wait_for("] 127.0.0.1 () {")


@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2"])
def test_unix_socket_with_a_header(
    tmp_path: pathlib.Path, version: str
) -> None:
    config, options = documented("TCP")
    path = str(tmp_path / "app.sock")
    options = with_address(options, "--http-socket", path)
    options = with_address(options, "--trusted-proxies", "unix")
    with server(APP, *options, http=None):
        config = config.replace(
            "127.0.0.1:9090 check send-proxy-v2", f"{path} {version}"
        )
        with haproxy(config, ":80") as (port,):
            environ, name = ask(port, **FORGED)
            assert unforged(environ)
            assert environ["REMOTE_PORT"] == str(name[1])


# --- health checks ---------------------------------------------------------

# Tells when ten connections came, whether or not they became requests.
COUNTING = (
    APP
    + """
    import asyncio, gc, greenloop
    from greenloop import _core

    async def count():
        engine, = (one for one in gc.get_objects()
                   if isinstance(one, _core.Engine))
        while engine.stats()["accepted"] < 10:
            await asyncio.sleep(0.02)
        print("ten came", flush=True)

    @greenloop.on_worker_start
    async def watch():
        watch.task = asyncio.get_running_loop().create_task(count())
"""
)


@pytest.mark.parametrize("how", ["", "send-proxy", "send-proxy-v2"])
def test_health_checks_are_no_errors(how: str) -> None:
    config, options = documented("TCP")
    options = with_address(options, "--http-socket", "127.0.0.1:0")
    if not how:
        options.remove("--enable-proxy-protocol")
    with server(COUNTING, *options, http=None) as s:
        config = config.replace(
            "127.0.0.1:9090 check send-proxy-v2",
            f"127.0.0.1:{s.port} {CHECKS} {how}",
        )
        with haproxy(config, ":80") as (port,):
            if how:  # else they end before there is anything to accept
                s.wait_for("ten came")
            environ, _name = ask(port)
            assert environ["REMOTE_ADDR"] == "127.0.0.1"
        s.wait_for("GET / => generated")
        assert "PROXY" not in s.err
        assert s.logged(" => ") == 1
