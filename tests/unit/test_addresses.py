# SPDX-License-Identifier: MIT
"""Addresses: their text, and the sockets that come of them."""

import contextlib
import errno
import os
import pathlib
import socket
from collections.abc import Iterator

import pytest
from greenloop import addresses
from greenloop.addresses import Address, AddressError
from greenloop.socket_options import SocketOptions


@contextlib.contextmanager
def listening(text: str, backlog: int = 8) -> Iterator[list[socket.socket]]:
    socks = addresses.listen(text, backlog)
    try:
        yield socks
    finally:
        for sock in socks:
            sock.close()


def refused(text: str) -> AddressError:
    with pytest.raises(AddressError) as caught:
        for sock in addresses.listen(text):
            sock.close()
    return caught.value


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":9090", Address(":9090", host="", port=9090)),
        ("a.b:0", Address("a.b:0", host="a.b", port=0)),
        ("[::1]:80", Address("[::1]:80", host="::1", port=80)),
        ("/run/x", Address("/run/x", path="/run/x")),
        ("./x:1", Address("./x:1", path="./x:1")),
        ("@name", Address("@name", path="\0name")),
    ],
)
def test_parse(text: str, expected: Address) -> None:
    assert addresses.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("9090", "write :9090"),
        ("", "no port"),
        ("host", "no port"),
        ("@", "no port"),
        ("host:", "number from 0 to 65535"),
        ("host:http", "number from 0 to 65535"),
        ("host:65536", "number from 0 to 65535"),
        ("host:-1", "number from 0 to 65535"),
        ("::1:80", "[address]:port"),
        ("http://localhost:80", "[address]:port"),
    ],
)
def test_what_is_no_address(text: str, words: str) -> None:
    with pytest.raises(AddressError) as caught:
        addresses.parse(text)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"cannot listen on {text!r}: ")
    assert caught.value.errno == errno.EINVAL


def test_a_tcp_socket_is_ready_for_the_engine() -> None:
    with listening("127.0.0.1:0") as [sock]:
        assert not sock.getblocking()
        assert not os.get_inheritable(sock.fileno())
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        name = addresses.socket_name(sock)
        assert name == f"http://127.0.0.1:{sock.getsockname()[1]}"
        socket.create_connection(sock.getsockname(), 5).close()


def test_only_a_port_means_every_ipv4_address() -> None:
    with listening(":0") as [sock]:
        assert sock.family == socket.AF_INET
        host, port = sock.getsockname()
        assert host == "0.0.0.0"
        socket.create_connection(("127.0.0.2", port), 5).close()


def test_an_ipv6_address() -> None:
    if not has_ipv6():
        assert "that address" in str(refused("[::1]:0"))
        return
    with listening("[::1]:0") as [sock]:
        assert addresses.socket_name(sock).startswith("http://[::1]:")
        socket.create_connection(sock.getsockname()[:2], 5).close()


def test_a_name_gives_all_its_addresses_one_port(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    second = (
        (socket.AF_INET6, ("::1", 0, 0, 0))
        if has_ipv6()
        else (socket.AF_INET, ("127.0.0.2", 0))
    )
    places = [(socket.AF_INET, ("127.0.0.1", 0)), second]
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda *a, **k: [
            (family, socket.SOCK_STREAM, 6, "", place)
            for family, place in places
        ],
    )
    with listening("both.test:0") as socks:
        assert [sock.family for sock in socks] == [f for f, _p in places]
        assert len({sock.getsockname()[1] for sock in socks}) == 1


def test_an_address_that_is_not_ours_is_passed_over_for_a_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # 192.0.2.0/24 is reserved for documentation: nobody has it.
    hosts = ["192.0.2.1", "127.0.0.1"]
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda *a, **k: [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0))
            for host in hosts
        ],
    )
    with listening("some.test:0") as [sock]:
        assert sock.getsockname()[0] == "127.0.0.1"
    hosts.pop()
    error = refused("some.test:0")
    assert error.errno == errno.EADDRNOTAVAIL
    assert "this machine does not have that address" in str(error)


def test_a_port_in_use() -> None:
    with listening("127.0.0.1:0") as [sock]:
        text = f"127.0.0.1:{sock.getsockname()[1]}"
        error = refused(text)
    assert error.errno == errno.EADDRINUSE
    assert str(error).startswith(
        f"cannot listen on {text}: address already in use: "
    )


def test_a_port_that_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    # The tests may run as root, so the system's answer is made up.
    def bind(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(addresses, "_bind_tcp", bind)
    assert str(refused("127.0.0.1:80")) == (
        "cannot listen on 127.0.0.1:80: permission denied; ports below "
        "1024 need root or CAP_NET_BIND_SERVICE"
    )


def test_a_name_that_stands_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert "'nowhere.test' stands for no address" in str(
        refused("nowhere.test:80")
    )


def test_a_failure_leaves_no_descriptor_open() -> None:
    with listening("127.0.0.1:0") as [sock]:
        text = f"127.0.0.1:{sock.getsockname()[1]}"
        before = os.listdir("/proc/self/fd")
        refused(text)
        refused("/no/such/directory/sock")
        assert os.listdir("/proc/self/fd") == before


def test_a_unix_socket(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "app.sock")
    with listening(path) as [sock]:
        assert addresses.socket_name(sock) == f"unix:{path}"
        assert not sock.getblocking()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)


def test_a_dead_unix_socket_is_replaced(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "app.sock")
    with listening(path):
        pass
    assert os.path.exists(path)
    with listening(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


def test_a_unix_socket_in_use_is_kept(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "app.sock")
    with listening(path), socket.socket(socket.AF_UNIX) as client:
        assert "already in use" in str(refused(path))
        client.connect(path)


def test_a_full_unix_socket_is_in_use_too(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "app.sock")
    with listening(path, backlog=0), contextlib.ExitStack() as stack:
        for _ in range(3):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            client.connect_ex(path)
        assert client.connect_ex(path) == errno.EAGAIN
        assert "already in use" in str(refused(path))


def test_a_file_is_never_replaced(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "precious"
    path.write_text("kept")
    assert "not a socket has this name" in str(refused(str(path)))
    assert path.read_text() == "kept"


def test_a_unix_socket_without_its_directory(tmp_path: pathlib.Path) -> None:
    assert "directory does not exist" in str(refused(f"{tmp_path}/a/b"))


def test_a_unix_path_that_is_too_long(tmp_path: pathlib.Path) -> None:
    longest = f"{tmp_path}/".ljust(107, "x")
    with listening(longest):
        pass
    for path in (longest + "x", f"@{'x' * 108}"):
        text = "name has at most 107 bytes, and this one 108"
        assert text in str(refused(path))
    with listening(f"@{'x' * 107}"):
        pass


def test_a_unix_socket_that_cannot_be_given_away(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chown(path: str, user: int, group: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chown", chown)
    path = tmp_path / "s"
    with pytest.raises(AddressError) as caught:
        addresses.listen(str(path), options=SocketOptions(owner=(1, 1)))
    text = "--chown-socket failed: operation not permitted"
    assert text in str(caught.value)
    assert not path.exists()


def test_an_abstract_socket() -> None:
    name = f"@greenloop-test-{os.getpid()}"
    with listening(name) as [sock]:
        assert addresses.socket_name(sock) == f"unix:{name}"
        assert "already in use" in str(refused(name))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect("\0" + name[1:])
