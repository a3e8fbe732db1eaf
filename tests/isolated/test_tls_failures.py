# SPDX-License-Identifier: MIT
"""Short runs on both loops; tls_failures.py by hand runs longer ones."""

import alloc_failures
import pytest
import tls_failures
from scripts import of_a_script, run_script

ROUNDS = 1

pytestmark = pytest.mark.once


@pytest.mark.skipif(
    alloc_failures.load_testcapi() is None,
    reason="not on this Python: it has no _testcapi",
)
@of_a_script
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_each_allocation_fails_once(loop: str) -> None:
    done = run_script(tls_failures, "--loop", loop, "--rounds", str(ROUNDS))
    assert done == (0, "")
