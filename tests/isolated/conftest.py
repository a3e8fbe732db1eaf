# SPDX-License-Identifier: MIT
"""Lets the tests of this folder import its scripts and the e2e harness.

pytest imports test modules by path here (importlib mode), so neither folder
is on the module path by itself.
"""

import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]
pytest.register_assert_rewrite("harness")
