# SPDX-License-Identifier: MIT
"""Short leak runs on both loops; leaks.py by hand runs longer ones."""

import asyncio
import contextlib
import ctypes
import sys
from collections.abc import Iterator

import leaks
import pytest

TIMES = 120


@pytest.fixture
def own_loop() -> Iterator[None]:
    """Leaves the thread's current loop as the test found it."""
    yield
    with contextlib.suppress(RuntimeError):
        asyncio.set_event_loop(None)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_nothing_is_left_behind(loop: str, own_loop: None) -> None:
    assert leaks.run_on(loop, TIMES) == []


@pytest.mark.skipif(
    sys.getallocatedblocks() == 0,
    reason="not on this Python: its allocator counts no blocks",
)
def test_a_lost_object_is_noticed() -> None:
    lost: list[object] = []

    async def lose(times: int) -> None:
        lost.extend(object() for _ in range(times))

    assert "blocks" in asyncio.run(leaks.leak_of(lose, TIMES))


@pytest.mark.skipif(
    leaks.heap_bytes() == 0, reason="not on this Python: no mallinfo2"
)
def test_lost_memory_of_c_is_noticed() -> None:
    malloc = ctypes.CDLL(None).malloc
    malloc.restype = ctypes.c_void_p
    lost: list[int] = []

    async def lose(times: int) -> None:
        lost.extend(malloc(1000) for _ in range(times))

    try:
        assert "heap" in asyncio.run(leaks.leak_of(lose, TIMES))
    finally:
        free = ctypes.CDLL(None).free
        for address in lost:
            free(ctypes.c_void_p(address))
