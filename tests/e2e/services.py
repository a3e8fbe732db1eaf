# SPDX-License-Identifier: MIT
"""Real Redis, PostgreSQL, nginx, HAProxy and Chromium for the length of a
`with` block.

    with redis_server() as url, server(app, env={"REDIS_URL": url}) as s:
        ...

Each is a process of its own with its data in a temporary folder, both gone
at the end of the block.  Redis and PostgreSQL listen on sockets in that
folder, so no test can meet another one's; nginx gets a free loopback port,
HAProxy sockets that listen already, on ports that the system chose.  A test
that needs a program which is not installed is skipped.
"""

import contextlib
import dataclasses
import http.client
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import pytest
from harness import Answer, Stream, exchange
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

__all__ = [
    "Nginx",
    "chromium",
    "haproxy",
    "nginx",
    "postgresql_server",
    "redis_server",
]

START_SECONDS = 30.0
STOP_SECONDS = 20.0
REDIS_READY = "ready to accept connections"
NGINX_READY = "using the "
POSTGRESQL_READY = "database system is ready to accept connections"
# Around what a test configures: one process, nothing outside of its folder.
NGINX_FRAME = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr notice;
events {{
}}
http {{
    access_log off;
    client_body_temp_path temp/body;
    fastcgi_temp_path temp/fastcgi;
    proxy_temp_path temp/proxy;
    scgi_temp_path temp/scgi;
    uwsgi_temp_path temp/uwsgi;
{http}
}}
"""
# Root needs the first; the others keep a browser from asking the world.
CHROMIUM_OPTIONS = (
    "--no-sandbox",
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--window-size=900,700",
)


def program(name: str, *folders: pathlib.Path) -> str:
    """The path of a program, in PATH or in folders; skips the test."""
    places = [os.environ.get("PATH", os.defpath), *map(str, folders)]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def fail(name: str, log: str) -> NoReturn:
    raise AssertionError(f"{name} does not start\n{log}")


@contextlib.contextmanager
def running(words: list[str], ready: str, **options: Any) -> Iterator[Stream]:
    """A process that has printed `ready`; SIGINT at the end, or worse.

    Gives what it prints.
    """
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **options,
    )
    assert process.stdout is not None
    output = Stream(process.stdout)
    try:
        if not output.wait_for(lambda text: ready in text, START_SECONDS):
            fail(words[0], output.text)
        yield output
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        output.close()


@contextlib.contextmanager
def redis_server() -> Iterator[str]:
    """A Redis with nothing in it; gives its URL."""
    redis = program("redis-server")
    with tempfile.TemporaryDirectory(prefix="greenloop-redis-") as folder:
        socket = f"{folder}/redis.sock"
        words = [redis, "--port", "0", "--unixsocket", socket]
        words += ["--dir", folder, "--save", "", "--appendonly", "no"]
        with running(words, REDIS_READY):
            yield f"unix://{socket}"


def unprivileged() -> dict[str, Any]:
    """For a process that refuses to be root: whom to be instead."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def make_cluster(initdb: str, folder: str, options: dict[str, Any]) -> None:
    words = [initdb, "--pgdata", f"{folder}/data", "--username", "test"]
    words += ["--auth", "trust", "--no-locale", "--encoding", "UTF8"]
    done = subprocess.run(
        [*words, "--no-sync"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=START_SECONDS,
        text=True,
        **options,
    )
    if done.returncode != 0:
        fail(initdb, done.stdout)


@contextlib.contextmanager
def postgresql_server() -> Iterator[str]:
    """A PostgreSQL with one empty database; gives its DSN."""
    debian = sorted(
        pathlib.Path("/usr/lib/postgresql").glob("*/bin"),
        key=lambda folder: int(folder.parent.name),
        reverse=True,
    )
    postgres = program("postgres", *debian)
    initdb = program("initdb", *debian)
    with tempfile.TemporaryDirectory(prefix="greenloop-pg-") as folder:
        options = unprivileged()
        if options:
            os.chown(folder, options["user"], options["group"])
        options["cwd"] = folder
        make_cluster(initdb, folder, options)
        words = [postgres, "-D", f"{folder}/data", "-k", folder, "-F"]
        words += ["-c", "listen_addresses="]
        with running(words, POSTGRESQL_READY, **options):
            yield f"postgresql://test@/postgres?host={folder}"


@dataclasses.dataclass(frozen=True)
class Nginx:
    """A running nginx; made by nginx()."""

    port: int
    output: Stream

    @property
    def log(self) -> str:
        """Its error log so far."""
        return self.output.text

    @property
    def errors(self) -> list[str]:
        """The lines of the log that tell of failures."""
        wrong = re.compile(r"\[(error|crit|alert|emerg)\]")
        return [line for line in self.log.splitlines() if wrong.search(line)]

    def connect(self, timeout: float = 20.0) -> socket.socket:
        """A connection to it, yours to close."""
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def client(self, timeout: float = 20.0) -> http.client.HTTPConnection:
        """A keep-alive client; `with contextlib.closing(n.client())`."""
        return http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=timeout
        )

    def request(
        self,
        method: str,
        path: str = "/",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request on a connection of its own."""
        with contextlib.closing(self.client()) as client:
            return exchange(client, method, path, body, headers)

    def get(
        self, path: str = "/", headers: Mapping[str, str] | None = None
    ) -> Answer:
        return self.request("GET", path, None, headers)


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def nginx_folder(binary: str) -> str:
    """Where its uwsgi_params and the like are."""
    done = subprocess.run(
        [binary, "-V"], stderr=subprocess.PIPE, text=True, timeout=10
    )
    found = re.search(r"--conf-path=(\S+)/", done.stderr)
    return found[1] if found is not None else "/etc/nginx"


@contextlib.contextmanager
def nginx(http: str) -> Iterator[Nginx]:
    """An nginx with `http` in its http block.

    `listen 80;` there becomes a free loopback port, and files that are
    included by a name alone are those that came with nginx.
    """
    places = pathlib.Path("/usr/sbin"), pathlib.Path("/usr/local/sbin")
    binary = program("nginx", *places)
    port = free_port()
    http = http.replace("listen 80;", f"listen 127.0.0.1:{port};")
    http = re.sub(
        r"\binclude (\w+;)", rf"include {nginx_folder(binary)}/\1", http
    )
    with tempfile.TemporaryDirectory(prefix="greenloop-nginx-") as folder:
        (pathlib.Path(folder) / "temp").mkdir()
        path = pathlib.Path(folder) / "nginx.conf"
        path.write_text(NGINX_FRAME.format(http=http), "utf-8")
        words = [binary, "-p", folder, "-c", str(path), "-e", "stderr"]
        with running(words, NGINX_READY) as output:
            yield Nginx(port, output)


@contextlib.contextmanager
def haproxy(config: str, *binds: str) -> Iterator[list[int]]:
    """A HAProxy with this configuration; gives the ports of its listeners.

    Each of `binds` stands in the configuration as the address of a `bind`
    line, such as ":80", and a free port of 127.0.0.1 takes its place.  The
    port listens before HAProxy runs, so that nobody has to wait for it.
    """
    words = [program("haproxy", pathlib.Path("/usr/sbin")), "-db", "-f"]
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="greenloop-haproxy-")
        )
        listening = [socket.create_server(("127.0.0.1", 0)) for _ in binds]
        for bind, sock in zip(binds, listening, strict=True):
            stack.enter_context(sock)
            line = f"bind {bind}"
            assert line in config, line
            config = config.replace(line, f"bind fd@{sock.fileno()}")
        file = pathlib.Path(folder, "haproxy.cfg")
        file.write_text(config)
        descriptors = [sock.fileno() for sock in listening]
        checked = subprocess.run(
            [*words, str(file), "-c"],
            pass_fds=descriptors,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=START_SECONDS,
            text=True,
        )
        if checked.returncode != 0:
            fail(words[0], checked.stdout)
        stack.enter_context(
            running([*words, str(file)], "", pass_fds=descriptors)
        )
        yield [sock.getsockname()[1] for sock in listening]


@contextlib.contextmanager
def chromium() -> Iterator[Chrome]:
    """A headless Chromium with one window and an empty profile."""
    options = ChromeOptions()
    options.binary_location = program("chromium")
    service = ChromeService(program("chromedriver"))
    with tempfile.TemporaryDirectory(prefix="greenloop-chromium-") as folder:
        for argument in (*CHROMIUM_OPTIONS, f"--user-data-dir={folder}"):
            options.add_argument(argument)
        browser = Chrome(options, service)
        try:
            yield browser
        finally:
            browser.quit()
