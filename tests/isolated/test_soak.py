# SPDX-License-Identifier: MIT
"""A short soak on both loops; `make soak` runs the long one."""

import pytest
import soak

REQUESTS = 6000


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_nothing_grows(loop: str) -> None:
    with soak.started(loop) as running:
        assert soak.soak(running, REQUESTS, seed=7) == []


def test_growth_is_noticed() -> None:
    early = {"rss": 1 << 20, "descriptors": 9, "greenlets": 5, "tasks": 1}
    late = {"rss": 3 << 20, "descriptors": 10, "greenlets": 5, "tasks": 2}
    found = soak.failures(early, early, late, soak.GROWTH_BYTES)
    assert [text.split(":")[0] for text in found] == [
        "descriptors",
        "tasks",
        "memory",
    ]
