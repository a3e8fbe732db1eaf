# SPDX-License-Identifier: MIT
"""The command line: reads the options and runs a worker.

Exit statuses:

    0   stopped on request (SIGINT or SIGTERM), or --help, --version
    1   a command line that cannot be followed, a fatal error, or a stop by
        force after the graceful timeout
    22  there is no application, it does not import, or a function of
        on_worker_start() failed

The program behaves the same under every name; what it says about its command
line uses the name by which it was called, so that a link named uwsgi speaks
as uwsgi.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

# Nothing else of ours before a signal can be caught.
from greenloop import interrupts

if TYPE_CHECKING:
    from greenloop.options import Settings

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; `argv` is like sys.argv, with the name first.

    Returns the exit status.
    """
    name, *arguments = sys.argv if argv is None else argv
    prog = _program_name(name)
    try:
        interrupts.catch()
        return _run(prog, arguments)
    except KeyboardInterrupt:
        return 0
    except Exception:
        # Python may make another exception of it, as it does of what is
        # raised while a class is made.
        if interrupts.came():
            return 0
        raise


def _program_name(path: str) -> str:
    name = os.path.basename(path)
    return "greenloop" if name in ("", "__main__.py", "-c") else name


def _run(prog: str, arguments: Sequence[str]) -> int:
    from greenloop import option_help, options

    if not arguments:
        return _fail(
            prog,
            f"nothing to do. Try {prog} --http-socket :9090 "
            f"--wsgi-file app.py, or {prog} --help",
        )
    try:
        found = options.scan(arguments)
        asked = {option.name for option, _value in found}
        if "help" in asked:
            width = shutil.get_terminal_size((80, 24)).columns
            print(option_help.help_text(prog, width), end="")
            return 0
        if "version" in asked:
            print(_version())
            return 0
        settings = options.parse(found, prog)
    except options.RefusedError as error:
        return _fail(prog, str(error))
    except options.UsageError as error:
        return _fail(prog, f"{error} See {prog} --help")
    return _serve(settings)


def _version() -> str:
    from importlib import metadata

    return f"Greenloop {metadata.version('greenloop')}"


def _serve(settings: Settings) -> int:
    from greenloop import addresses, loader, messages, worker

    _flush_lines()
    try:
        return worker.run(settings)
    except (loader.LoadError, addresses.AddressError) as error:
        interrupts.raise_missed()  # it may be what went wrong
        return _fail(
            settings.prog, str(error), getattr(error, "exit_status", 1)
        )
    finally:
        messages.release_streams()


def _flush_lines() -> None:
    """What an application prints shall be seen when it prints it.

    Standard output is a log here, usually a pipe or a file, which Python
    would otherwise fill by blocks of 8 KiB.
    """
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(line_buffering=True)


def _fail(prog: str, message: str, status: int = 1) -> int:
    from greenloop import messages

    messages.write(f"{prog}: {message}\n")
    return status
