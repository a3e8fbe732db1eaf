# SPDX-License-Identifier: MIT
"""Short leak runs over TLS; tls_leaks.py by hand runs 2,000 handshakes."""

import pytest
import tls_leaks
from scripts import of_a_script, run_script

TIMES = 60


@of_a_script
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_nothing_is_left_behind(loop: str) -> None:
    done = run_script(tls_leaks, "--loop", loop, "--times", str(TIMES))
    assert done == (0, "")
