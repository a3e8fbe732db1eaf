# SPDX-License-Identifier: MIT
"""Makes `import uwsgi` work in this process.

The module itself is C (src/py/uwsgi_module.c).  Here it gets its place among
the modules, and what the command line and the sockets say; and the functions
that an application may leave in it are called.  Its after_req_hook is
gateway.c's.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from greenloop import _core

__all__ = ["applications", "install", "run_hook"]

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
        "started_on": int(time.time()),
    }
    vars(module).update(data)
    sys.modules.setdefault("uwsgi", module)
    return module


def applications() -> dict[str, Any]:
    """What the application left in `uwsgi.applications`: {prefix: target}.

    A target is a callable, or the name of one in the module that was loaded.
    Empty where there is none.  Raises TypeError for another type.
    """
    found = getattr(_core._uwsgi, "applications", None)
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(
        isinstance(prefix, str) for prefix in found
    ):
        raise TypeError(
            "uwsgi.applications must be a dict from prefixes to "
            f"applications, not {found!r:.100}"
        )
    return found


def run_hook(
    name: str, report: Callable[[str, BaseException | None], object]
) -> None:
    """Calls `uwsgi.<name>()` if the application set it.

    A failure of it is reported and changes nothing else.
    """
    hook = getattr(_core._uwsgi, name, None)
    if hook is None:
        return
    try:
        hook()
    except Exception as error:
        report(f"uwsgi.{name} failed", error)
