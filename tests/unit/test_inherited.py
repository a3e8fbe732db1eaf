# SPDX-License-Identifier: MIT
"""What the environment says of inherited sockets, and who owns a file."""

import grp
import os
import pwd

import pytest
from greenloop import addresses, inherited, socket_options


@pytest.mark.parametrize(
    ("count", "pid", "expected"),
    [
        ("1", None, 1),
        ("20", None, 20),
        ("0", None, 0),
        ("", None, 0),
        ("x", None, 0),
        ("-1", None, 0),
        ("+1", None, 0),
        ("\u0661", None, 0),
        ("1\n", None, 0),
        ("9" * 6, None, 0),
        ("9" * 5000, None, 0),
        ("1", "1", 0),
        ("1", "", 0),
        ("1", " ", 0),
    ],
)
def test_announced(count: str, pid: "str | None", expected: int) -> None:
    own = str(os.getpid())
    environ = {"LISTEN_FDS": count, "LISTEN_PID": own if pid is None else pid}
    assert inherited.announced(environ) == expected


def test_nothing_is_announced() -> None:
    assert inherited.announced({}) == 0
    assert inherited.announced({"LISTEN_FDS": "1"}) == 0
    assert inherited.announced({"LISTEN_PID": str(os.getpid())}) == 0


def test_the_variables_are_taken_out() -> None:
    environ = {"LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_FDNAMES": "a"}
    environ["LISTEN"] = "kept"
    assert inherited.Inherited(environ).take_rest() == []
    assert environ == {"LISTEN": "kept"}


def test_a_descriptor_that_was_announced_and_is_not_there() -> None:
    environ = {"LISTEN_FDS": "1000", "LISTEN_PID": str(os.getpid())}
    found = inherited.Inherited(environ)
    with pytest.raises(addresses.AddressError, match="cannot listen on fd://"):
        found.take_rest()
    before = os.listdir("/proc/self/fd")
    assert found.find("127.0.0.1:1") == []
    assert os.listdir("/proc/self/fd") == before
    assert len(found.leave_rest()) == 1000


def test_owners() -> None:
    root, group = pwd.getpwuid(0).pw_name, grp.getgrgid(0).gr_name
    for text, expected in {
        root: (0, -1),
        f"{root}:": (0, -1),
        f"{root}:{group}": (0, 0),
        f":{group}": (-1, 0),
        "12:34": (12, 34),
        ":34": (-1, 34),
    }.items():
        assert socket_options.parse_owner(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "written USER"),
        (":", "written USER"),
        ("no-such-user", "no user 'no-such-user'"),
        ("0:no-such-group", "no group 'no-such-group'"),
        ("-1", "no user '-1'"),
        ("4294967295", "no user '4294967295'"),
        ("0:" + "9" * 5000, "no group '999"),
        ("0:0:0", "no group '0:0'"),
    ],
)
def test_who_is_no_owner(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        socket_options.parse_owner(text)
