# SPDX-License-Identifier: MIT
"""Short runs on both loops; tls_failures.py by hand runs longer ones."""

import pathlib
import subprocess
import sys

import alloc_failures
import pytest
import tls_failures

ROUNDS = {"asyncio": 1, "uvloop": 1}
SCRIPT = pathlib.Path(tls_failures.__file__)


@pytest.mark.timeout(160)
@pytest.mark.skipif(
    alloc_failures.load_testcapi() is None,
    reason="not on this Python: it has no _testcapi",
)
@pytest.mark.parametrize("loop", ROUNDS)
def test_each_allocation_fails_once(loop: str) -> None:
    """In a process of its own, which may crash."""
    quiet = ["-W", "ignore::ResourceWarning"]
    command = [sys.executable, *quiet, str(SCRIPT), "--loop", loop]
    done = subprocess.run(
        [*command, "--rounds", str(ROUNDS[loop])],
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert (done.returncode, done.stderr) == (0, "")
