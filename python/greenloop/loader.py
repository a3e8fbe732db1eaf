# SPDX-License-Identifier: MIT
"""Finds and imports the applications that the command line names.

Where modules are looked for: first the `--pythonpath` directories in their
order, then the current directory (after `--chdir`), then what Python itself
looks through, with the packages of `--virtualenv` before those of the
server's own environment.  The directory of a `--wsgi-file` is not added.

A file becomes a module named uwsgi_file_<path>, as in uWSGI: its path as
given, without extension, other signs than letters and digits turned into
underscores.  A file or module is loaded once, however many prefixes it
serves.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.machinery
import importlib.util
import inspect
import os
import pathlib
import re
import site
import sys
import sysconfig
import traceback
import types
from collections.abc import Callable
from typing import Any

from greenloop import messages
from greenloop.compat import uwsgi_module
from greenloop.options import Settings
from greenloop.tls import CertificateError

__all__ = [
    "LoadError",
    "load_applications",
    "prepare_paths",
    "print_traceback",
]

NO_APPLICATION = 22
LEGACY_HINT = (
    "This application uses @asyncio.coroutine, which Python removed in "
    "3.11: start with --legacy-coroutines."
)

# Where a traceback does not begin: it is the user's code that failed.
MACHINERY = (
    os.path.dirname(__file__) + os.sep,
    os.path.dirname(asyncio.__file__) + os.sep,
    importlib.__file__,
    "<frozen importlib",
)

Application = Callable[..., Any]


class LoadError(Exception):
    """There is no application to serve; str() is a sentence that says why.

    `exit_status` is what the program ends with: 22 if an application is
    missing or does not import, 1 if a directory in the settings is wrong.
    """

    def __init__(self, message: str, exit_status: int = NO_APPLICATION):
        super().__init__(message)
        self.exit_status = exit_status


def load_applications(
    settings: Settings, before: Callable[[], None] = lambda: None
) -> list[tuple[str, Application]]:
    """Imports what the settings name; returns (prefix, callable) pairs.

    `before` is called when modules can be imported; it may raise
    CertificateError, which becomes a LoadError.

    The default application, if there is one, comes first with the prefix
    "".  Changes the current directory and the module path as the settings
    say.  Raises LoadError; the traceback of an application that does not
    import is on standard error by then.
    """
    prepare_paths(settings)
    _call_before(before)
    if settings.legacy_coroutines:
        from greenloop.compat import legacy_coroutines

        legacy_coroutines.install()
    name = settings.callable
    loaded: list[tuple[str, Application]] = []
    if settings.wsgi_file is not None:
        module = _load_file(settings.wsgi_file)
        loaded += _applications(module, name, settings.wsgi_file)
    elif settings.module is not None:
        target, colon, attribute = settings.module.partition(":")
        _check_module_name(target, attribute)
        module = _load_module(target, settings.module)
        loaded += _applications(module, attribute if colon else name, target)
    for prefix, target in settings.mounts:
        # As PATH_INFO has it: the bytes, each as one character.
        path = os.fsencode(prefix).decode("latin-1")
        if path in dict(loaded):
            raise LoadError(
                f"there are two applications for {prefix or '/'}: one by "
                "--mount, one by the module that is loaded."
            )
        loaded.append((path, _load_target(target, name)))
    if not loaded:
        raise LoadError(
            "there is no application: name one with --wsgi-file app.py or "
            "--module package.module:callable."
        )
    return loaded


def _check_module_name(name: str, attribute: str) -> None:
    if not (name.endswith((".py", ".wsgi")) and os.path.isfile(name)):
        return
    command = f"--wsgi-file {name}"
    if attribute:
        command += f" --callable {attribute}"
    raise LoadError(f"--module {name} is a file; write {command}.")


def _call_before(before: Callable[[], None]) -> None:
    try:
        before()
    except CertificateError as error:
        if error.__cause__ is not None:
            print_traceback(error.__cause__)
        raise LoadError(str(error), exit_status=1) from None


def prepare_paths(settings: Settings) -> None:
    """Enters --chdir and arranges sys.path; LoadError (status 1) if not."""
    if settings.chdir is not None:
        try:
            os.chdir(settings.chdir)
        except OSError as error:
            raise LoadError(
                f"cannot change to {settings.chdir}: {error.strerror}.", 1
            ) from error
    if settings.virtualenv is not None:
        _add_virtualenv(pathlib.Path(settings.virtualenv).absolute())
    first = [os.path.abspath(path) for path in settings.pythonpath]
    first.append(os.getcwd())
    sys.path[:] = first + [path for path in sys.path if path not in first]


def _add_virtualenv(home: pathlib.Path) -> None:
    """Puts the packages of `home` before those of our own environment."""
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    theirs = _virtualenv_version(home)
    if theirs != ours:
        raise LoadError(
            f"the virtual environment {home} is for Python {theirs}, and "
            f"this is Python {ours}: install Greenloop into it instead.",
            1,
        )
    base = {"base": str(home), "platbase": str(home)}
    before = list(sys.path)
    places = [
        sysconfig.get_path(key, "posix_prefix", base)
        for key in ("purelib", "platlib")
    ]
    # Mostly one and the same; its .pth files are to run once.
    for place in dict.fromkeys(places):
        site.addsitedir(place)
    added = [path for path in sys.path if path not in before]
    # Behind the standard library, which a stray backport must not hide.
    at = next(
        (
            index
            for index, path in enumerate(before)
            if os.path.basename(path) in ("site-packages", "dist-packages")
        ),
        len(before),
    )
    sys.path[:] = before[:at] + added + before[at:]


def _virtualenv_version(home: pathlib.Path) -> str:
    """'3.11' for an environment made by CPython 3.11."""
    try:
        text = (home / "pyvenv.cfg").read_text("utf-8")
    except OSError:
        text = ""
    match = re.search(r"^version(?:_info)?\s*=\s*(\d+\.\d+)", text, re.M)
    if match is None:
        raise LoadError(
            f"{home} is not a virtual environment: it has no pyvenv.cfg "
            "that gives a version.",
            1,
        )
    return match[1]


def _load_target(target: str, name: str) -> Application:
    """What a mount names: file.py, file.py:name, pkg.mod or pkg.mod:name."""
    if _is_file_name(target):
        return _find(_load_file(target), name, target)
    path, colon, attribute = target.rpartition(":")
    if colon and _is_file_name(path):
        return _find(_load_file(path), attribute, path)
    return _load_module_target(target, name)


def _is_file_name(text: str) -> bool:
    return text.endswith((".py", ".wsgi")) or os.path.isfile(text)


def _load_module_target(target: str, name: str) -> Application:
    """pkg.mod or pkg.mod:name.of.callable."""
    module_name, colon, attribute = target.partition(":")
    module = _load_module(module_name, target)
    return _find(module, attribute if colon else name, module_name)


def _load_module(name: str, what: str) -> types.ModuleType:
    return _import(lambda: importlib.import_module(name), what)


def _applications(
    module: types.ModuleType, name: str, where: str
) -> list[tuple[str, Application]]:
    """What the module left in `uwsgi.applications`, else its callable."""
    try:
        table = uwsgi_module.applications()
    except TypeError as error:
        raise LoadError(f"cannot load {where}: {error}.") from None
    if not table:
        return [("", _find(module, name, where))]
    found: dict[str, Application] = {}
    for prefix, target in table.items():
        if prefix and not prefix.startswith("/"):
            raise LoadError(
                f"cannot load {where}: {prefix!r} in uwsgi.applications "
                "does not begin with a slash."
            )
        if isinstance(target, str):
            target = _find(module, target, where)
        path = os.fsencode(prefix.rstrip("/")).decode("latin-1")
        found[path] = _checked(target, f"uwsgi.applications[{prefix!r}]")
    return sorted(found.items())


def _load_file(path: str) -> types.ModuleType:
    stem = os.path.splitext(path)[0]
    name = "uwsgi_file_" + re.sub(r"[^0-9A-Za-z]", "_", stem)
    known = sys.modules.get(name)
    full = os.path.abspath(path)
    if known is not None and known.__file__ == full:
        return known
    if os.path.isdir(full):
        raise LoadError(f"cannot load {path}: it is a folder, not a file.")
    if not os.path.isfile(full):
        raise LoadError(f"cannot load {path}: there is no such file.")
    return _import(lambda: _run_file(name, full), path)


class _SourceLoader(importlib.machinery.SourceFileLoader):
    """Compiles each time: app.py and app.wsgi would share a cache file."""

    def get_code(self, fullname: str) -> types.CodeType:
        code: types.CodeType = self.source_to_code(
            self.get_data(self.path), self.path
        )
        return code


def _run_file(name: str, path: str) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(
        name, path, loader=_SourceLoader(name, path)
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _import(
    run: Callable[[], types.ModuleType], what: str
) -> types.ModuleType:
    try:
        return run()
    except (Exception, SystemExit) as error:
        print_traceback(error)
        message = f"cannot load {what}: it does not import."
        if _misses_coroutine(error):
            message += f" {LEGACY_HINT}"
        raise LoadError(message) from error


def print_traceback(error: BaseException) -> None:
    """To standard error, from where the application's own code begins."""
    begin = error.__traceback__
    while begin is not None and _is_machinery(begin.tb_frame):
        begin = begin.tb_next
    error.__traceback__ = begin
    messages.write("".join(traceback.format_exception(error)))


def _is_machinery(frame: types.FrameType) -> bool:
    file = frame.f_code.co_filename
    return file.startswith(MACHINERY) or file.endswith(".pyx")


def _misses_coroutine(error: BaseException) -> bool:
    return (
        isinstance(error, AttributeError)
        and error.name == "coroutine"
        and error.obj is asyncio
    ) or (
        isinstance(error, ImportError)
        and error.name == "asyncio"
        and "'coroutine'" in str(error)
    )


def _find(module: types.ModuleType, name: str, where: str) -> Application:
    """The callable `name`, which may be a dotted path, in `module`."""
    found: Any = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise LoadError(_missing(module, name, where)) from None
    return _checked(found, f"{name} in {where}")


def _checked(found: Any, what: str) -> Application:
    if not callable(found):
        raise LoadError(
            f"{what} is no callable but of type {type(found).__name__}."
        )
    if inspect.iscoroutinefunction(found):
        raise LoadError(
            f"{what} is a coroutine function; a WSGI application is a plain "
            "one."
        )
    return found  # type: ignore[no-any-return]


def _missing(module: types.ModuleType, name: str, where: str) -> str:
    message = f"there is no callable {name!r} in {where}"
    others = [
        other
        for other, value in vars(module).items()
        if not other.startswith("_") and _is_own_callable(module, value)
    ]
    if not others:
        return f"{message}."
    return f"{message}, but {', '.join(others)}; choose with --callable."


def _is_own_callable(module: types.ModuleType, value: object) -> bool:
    """Callables that the module made, not those that it imported."""
    if inspect.isroutine(value) or inspect.isclass(value):
        return getattr(value, "__module__", None) == module.__name__
    return callable(value)
