# SPDX-License-Identifier: MIT
"""Short runs on both loops; alloc_failures.py by hand runs longer ones."""

import sys
from collections.abc import Iterable
from typing import Any

import alloc_failures
import pytest
from harness import SANITIZED
from scripts import of_a_script, run_script

# In as many an object lost by one kind of request, kept alive or not, is more
# than what Python's caches may take.
ROUNDS = 16

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(
        alloc_failures.load_testcapi() is None,
        reason="not on this Python: it has no _testcapi",
    ),
    pytest.mark.skipif(
        SANITIZED,
        reason="not under sanitizers: their allocator counts no blocks",
    ),
]


@of_a_script
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_each_allocation_fails_once(loop: str) -> None:
    done = run_script(alloc_failures, "--loop", loop, "--rounds", str(ROUNDS))
    assert done == (0, "")


@pytest.mark.skipif(
    sys.version_info >= (3, 12),
    reason="not on this Python: greenlet may crash it without memory",
)
def test_a_lost_object_is_noticed() -> None:
    lost: list[object] = []

    def careless(
        environ: dict[str, Any], start_response: Any
    ) -> Iterable[bytes]:
        try:
            return alloc_failures.respond(environ, start_response)
        except MemoryError:
            lost.append(object())
            raise

    assert "blocks" in alloc_failures.run_on("asyncio", 1, careless)
    assert lost
