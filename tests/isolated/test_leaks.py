# SPDX-License-Identifier: MIT
"""Short leak runs on both loops; leaks.py by hand runs longer ones."""

import asyncio
import ctypes
import sys

import leaks
import pytest
from scripts import of_a_script, run_script

TIMES = 120


@of_a_script
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_nothing_is_left_behind(loop: str) -> None:
    assert run_script(leaks, "--loop", loop, "--times", str(TIMES)) == (0, "")


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
