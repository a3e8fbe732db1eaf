# SPDX-License-Identifier: MIT
"""A short WebSocket soak on both loops; `make ws-soak` runs the long one."""

import types

import pytest
import ws_soak
from wire import real_memory

PLAN = ws_soak.Plan(sockets=300, echoes=20, rounds=12, seconds=0.25)
# Of so few, the pages that others begin are a good part.
IDLE, IDLE_KIB = 1500, 8.0

pytestmark = pytest.mark.once


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_nothing_is_lost(loop: str) -> None:
    with ws_soak.started(loop) as running:
        assert ws_soak.soak(running, PLAN) == []


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_idle_sockets_are_small(loop: str) -> None:
    with ws_soak.started(loop) as running:
        assert ws_soak.idle(running, IDLE, IDLE_KIB) == []


@real_memory
def test_failures_are_noticed() -> None:
    slow = types.SimpleNamespace(peak=ws_soak.SLOW_BYTES + 1, came=2)
    run = types.SimpleNamespace(slow=slow, late=[0.1, 6.0], elapsed=180)
    found = ws_soak.failures(run, 10 << 20, 13 << 20)  # type: ignore[arg-type]
    assert [text.split(":")[0] for text in found] == [
        "memory",
        "a slow member",
        "a slow member stayed",
        "late",
    ]
