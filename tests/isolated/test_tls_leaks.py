# SPDX-License-Identifier: MIT
"""Short leak runs over TLS; tls_leaks.py by hand runs 2,000 handshakes."""

import asyncio
import contextlib
from collections.abc import Iterator

import pytest
import tls_leaks

TIMES = 60


@pytest.fixture
def own_loop() -> Iterator[None]:
    """Leaves the thread's current loop as the test found it."""
    yield
    with contextlib.suppress(RuntimeError):
        asyncio.set_event_loop(None)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_nothing_is_left_behind(loop: str, own_loop: None) -> None:
    assert tls_leaks.run_on(loop, TIMES) == []
