# SPDX-License-Identifier: MIT
"""Short runs on both loops; alloc_failures.py by hand runs longer ones."""

import pathlib
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import alloc_failures
import pytest
from harness import SANITIZED

# In 16 an object lost by one kind of request, kept alive or not, is more than
# what Python's caches may take.
ROUNDS = {"asyncio": 16, "uvloop": 4}
TIMEOUT_SECONDS = 150
SCRIPT = pathlib.Path(alloc_failures.__file__)

pytestmark = [
    pytest.mark.skipif(
        alloc_failures.load_testcapi() is None,
        reason="not on this Python: it has no _testcapi",
    ),
    pytest.mark.skipif(
        SANITIZED,
        reason="not under sanitizers: their allocator counts no blocks",
    ),
]


@pytest.mark.timeout(TIMEOUT_SECONDS + 10)
@pytest.mark.parametrize("loop", ROUNDS)
def test_each_allocation_fails_once(loop: str) -> None:
    """In a process of its own, which may crash."""
    # A file whose wrapper could not be made is closed by its last reference.
    quiet = ["-W", "ignore::ResourceWarning"]
    command = [sys.executable, *quiet, str(SCRIPT), "--loop", loop]
    done = subprocess.run(
        [*command, "--rounds", str(ROUNDS[loop])],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )
    assert (done.returncode, done.stderr) == (0, "")


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
