# SPDX-License-Identifier: MIT
"""Prints what the interpreter that runs it lacks to build Greenloop.

One line: minor version, verdict, executable.  The verdict is "ok" or the
first thing that is missing: "old", "kind" (not a CPython with a GIL),
"headers" or "venv".  Runs on any Python, so that an old one gets a clear
sentence from tools/preflight.sh and not a syntax error.
"""

import os
import sys


def verdict():
    if sys.version_info[:2] < (3, 10):
        return "old"
    import sysconfig

    if sys.implementation.name != "cpython":
        return "kind"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "kind"
    header = os.path.join(sysconfig.get_paths()["include"], "Python.h")
    if not os.path.exists(header):
        return "headers"
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        return "venv"
    return "ok"


if __name__ == "__main__":
    print("%d.%d %s %s" % (sys.version_info[:2] + (verdict(), sys.executable)))
