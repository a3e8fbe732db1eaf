# SPDX-License-Identifier: MIT
"""Runs the scripts of this folder as a test does.

In a process of its own, which may crash, and where the collector has only the
script's own objects to look at: in that of pytest it takes several times as
long.  Not in Python's developer mode either, in which asyncio writes down the
stack of each callback; an allocator that checks (PYTHONMALLOC) stays.
"""

import os
import subprocess
import sys
import types

import pytest

__all__ = ["of_a_script", "run_script"]

TIMEOUT_SECONDS = 150
of_a_script = pytest.mark.timeout(TIMEOUT_SECONDS + 10)


def run_script(module: types.ModuleType, *words: str) -> tuple[int, str]:
    """The exit status, and what was said of a failure.

    Files that a client left open are no failure: their last reference
    closes them.
    """
    quiet = ["-W", "ignore::ResourceWarning"]
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDEVMODE"}
    done = subprocess.run(
        [sys.executable, *quiet, str(module.__file__), *words],
        env=env,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    said = done.stdout if done.returncode != 0 else ""
    return done.returncode, said + done.stderr
