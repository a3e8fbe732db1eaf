# SPDX-License-Identifier: MIT
"""Several applications in one server: --mount and --manage-script-name."""

import contextlib
import threading
from collections.abc import Iterator

import pytest
from harness import Server, parallel, server

APP = """
    def answer(name):
        def application(environ, start_response):
            start_response("200 OK", [("Content-Type", "text/plain")])
            words = (name, environ["SCRIPT_NAME"], environ["PATH_INFO"])
            return ["|".join(words).encode("latin-1")]
        return application

    application = answer("root")
    deep = answer("deep")
"""
ONE = """
    from common import answer

    application = answer("one")
    other = answer("other")
"""
FILES = {
    "common.py": APP,
    "one.py": ONE,
    "package/__init__.py": "",
    "package/two.py": "from common import answer\nwsgi = answer('two')\n",
}
MOUNTS = (
    "--mount",
    "/one=one.py",
    "--mount",
    "/one/deeper=common:deep",
    "--mount",
    "/two=package.two:wsgi",
    "--mount",
    "/o=one.py:other",
    "--mount",
    "/caf\xe9=common:deep",
)


@pytest.fixture(scope="module")
def root() -> Iterator[Server]:
    """With an application for all the rest, and the names managed."""
    with server(APP, *MOUNTS, "--manage-script-name", files=FILES) as running:
        yield running


@pytest.fixture(scope="module")
def bare() -> Iterator[Server]:
    """Mounts alone, and the paths as they came."""
    with server(None, *MOUNTS, files=FILES) as running:
        yield running


ROUTES = [
    ("/one", "one", "/one", ""),
    ("/one/", "one", "/one", "/"),
    ("/one/x/y", "one", "/one", "/x/y"),
    ("/one?x=/two", "one", "/one", ""),
    ("/one//x", "one", "/one", "//x"),
    ("/%6fne/x%20y", "one", "/one", "/x y"),
    ("/one%2Fx", "one", "/one", "/x"),
    ("/one/deeper", "deep", "/one/deeper", ""),
    ("/one/deeper/x", "deep", "/one/deeper", "/x"),
    ("/one/deepe", "one", "/one", "/deepe"),
    ("/one/deeperx", "one", "/one", "/deeperx"),
    ("/two/one", "two", "/two", "/one"),
    ("/o", "other", "/o", ""),
    ("/o/ne", "other", "/o", "/ne"),
    ("/caf%c3%a9/x", "deep", "/caf\xc3\xa9", "/x"),
]
ELSEWHERE = ["/", "/on", "/onex", "/twofold", "/x/one", "//one", "/ONE", "/."]


@pytest.mark.parametrize(("target", "name", "script", "path"), ROUTES)
def test_longest_prefix(
    root: Server, target: str, name: str, script: str, path: str
) -> None:
    expected = "|".join((name, script, path))
    assert root.get(target).body.decode("latin-1") == expected


@pytest.mark.parametrize("target", ELSEWHERE)
def test_the_rest_goes_to_the_root(root: Server, target: str) -> None:
    assert root.get(target).text == f"root||{target}"


@pytest.mark.parametrize(("target", "name", "script", "path"), ROUTES)
def test_paths_stay_whole_unless_managed(
    bare: Server, target: str, name: str, script: str, path: str
) -> None:
    expected = "|".join((name, "", script + path))
    assert bare.get(target).body.decode("latin-1") == expected


@pytest.mark.parametrize("target", ELSEWHERE)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_nothing_mounted_is_a_404(
    bare: Server, target: str, method: str
) -> None:
    with contextlib.closing(bare.client()) as client:
        for _ in range(2):
            client.request(method, target, b"body" * (method == "POST"))
            response = client.getresponse()
            body = b"" if method == "HEAD" else b"Not Found"
            assert (response.status, response.read()) == (404, body)
        client.request("GET", "/two")
        assert client.getresponse().read() == b"two||/two"


def test_the_server_itself_is_nowhere_mounted(bare: Server) -> None:
    raw = bare.raw(
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    assert raw.startswith(b"HTTP/1.1 404 ")


def test_a_mount_of_everything() -> None:
    options = ("--mount", "/=one.py", "--mount", "/two=package.two:wsgi")
    with server(None, *options, "--manage-script-name", files=FILES) as s:
        assert s.get("/").text == "one||/"
        assert s.get("/x").text == "one||/x"
        assert s.get("/two/x").text == "two|/two|/x"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_b10_two_mounted_applications(loop: str) -> None:
    """Without --single-interpreter, and both at the same time."""
    app = """
        import greenloop

        seen = []

        def application(environ, start_response):
            seen.append(1)
            greenloop.sleep(0.05)
            start_response("200 OK", [])
            return [__file__.encode(), b" %d" % len(seen)]
    """
    options = ("--mount", "/a=a.py", "--mount", "/b=b.py", "--loop", loop)
    with server(None, *options, files={"a.py": app, "b.py": app}) as s:
        barrier = threading.Barrier(12)

        def ask(n: int) -> str:
            barrier.wait(10)
            return s.get("/" + "ab"[n % 2]).text

        answers = parallel(12, ask)
        assert {a.partition(" ")[0].rpartition("/")[2] for a in answers} == {
            "a.py",
            "b.py",
        }
        assert s.get("/a").text.endswith(" 7"), "each has its own module"
        assert s.get("/b").text.endswith(" 7")
