# SPDX-License-Identifier: MIT
"""A short fuzz of the real server; `make fuzz-server` runs the long one."""

import time

import fuzz_server
import pytest
from workload import Client

INPUTS = 400

pytestmark = pytest.mark.once


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("kind", fuzz_server.KINDS)
def test_no_input_does_harm(kind: str, loop: str) -> None:
    with fuzz_server.started(loop, kind) as running:
        assert fuzz_server.prove(running, INPUTS, 5, kind) == []


def test_a_client_that_leaves_within_a_head_is_noticed_at_once() -> None:
    with fuzz_server.started("asyncio") as running:
        client = Client(running.port)
        try:
            began = time.monotonic()
            client.socket.sendall(b"GET /hel")
            client.socket.shutdown(1)
            assert client.socket.recv(1) == b""
            taken = time.monotonic() - began
        finally:
            client.close()
    assert taken < fuzz_server.TIMEOUT_SECONDS / 2


def test_what_the_log_may_not_have() -> None:
    assert fuzz_server.CRASH.search("ERROR: AddressSanitizer: heap-use")
    assert not fuzz_server.CRASH.search("greenloop: error in a request: GET")
