# SPDX-License-Identifier: MIT
"""Makes `from embedded import ...` work in every module of this folder.

pytest imports test modules by path here (importlib mode), so this folder is
not on the module path by itself.  Nothing of the source tree is added.
"""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
pytest.register_assert_rewrite("embedded")
