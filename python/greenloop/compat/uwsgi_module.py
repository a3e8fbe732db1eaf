# SPDX-License-Identifier: MIT
"""Makes `import uwsgi` work in this process.

The module itself is C (src/py/uwsgi_module.c).  Here it gets its place among
the modules, and what the command line and the sockets say.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType

from greenloop import _core

__all__ = ["install"]

OptionValue = bytes | bool | list[bytes]


def install(
    sockets: Sequence[socket.socket],
    limits: Mapping[str, int],
    opt: Mapping[str, OptionValue] | None = None,
) -> ModuleType:
    """Puts the module in its place, once for the process, and returns it.

    sockets  the listening ones
    limits   options of the engine, by name; the others have their defaults
    opt      options of the command line, by name: bytes, True for a flag, a
             list for what was repeated
    """
    module = _core._uwsgi
    rows = {row["name"]: row["initial"] for row in _core.options()}
    rows.update(limits)
    data = {
        "sockets": [sock.fileno() for sock in sockets],
        "cores": rows["cores"],
        "buffer_size": rows["head_max_bytes"],
        "opt": dict(opt or {}),
    }
    vars(module).update(data)
    sys.modules.setdefault("uwsgi", module)
    return module
