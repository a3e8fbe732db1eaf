# SPDX-License-Identifier: MIT
"""What a skip means: REQUIRE_PEERS=1 turns it into a failure.

Where all programs that the tests talk to are said to be there, a test that
is skipped is a test that silently stopped testing.  These reasons
stay allowed, by how they begin:

    not on this Python:   the test is for other versions
    seed not here:        the document with the seed's examples is absent

and, in `make asan`,

    not under sanitizers: what the test measures is the sanitizer's there

There the environment preloads the sanitizer's libraries, for every Python
that loads the extension; programs of others start without them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Any

import pytest

# For the test of this file itself.
pytest_plugins = ["pytester"]

ALLOWED = ("not on this Python:", "seed not here:")
PRELOADED = "libasan" in os.environ.get("LD_PRELOAD", "")
if PRELOADED:
    ALLOWED = (*ALLOWED, "not under sanitizers:")


def skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The reason text of a skipped report."""
    if isinstance(report.longrepr, tuple):
        text = report.longrepr[2]
    else:
        text = str(report.longrepr)
    return text.removeprefix("Skipped: ")


def judge(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Makes a failure of a skip that the environment does not allow."""
    if os.environ.get("REQUIRE_PEERS") != "1" or not report.skipped:
        return
    if hasattr(report, "wasxfail"):
        return
    reason = skip_reason(report)
    if not reason.startswith(ALLOWED):
        report.outcome = "failed"
        report.longrepr = f"skipped although REQUIRE_PEERS=1: {reason}"


def is_foreign(command: object) -> bool:
    """Whether a command is a program from outside of this environment: a
    shell may run one of its own."""
    words = [command] if isinstance(command, str | os.PathLike) else command
    name = os.fspath(list(words)[0])  # type: ignore[call-overload]
    path = os.path.realpath(shutil.which(name) or name)
    return not (
        path.startswith(os.path.realpath(sys.prefix))
        or path == os.path.realpath(sys.executable)
        or os.path.basename(name) == "sh"
    )


class Popen(subprocess.Popen):  # type: ignore[type-arg]
    """Starts programs of others without the sanitizer's libraries, under
    which some of them hang."""

    def __init__(
        self, args: Any, *more: Any, env: Any = None, **options: Any
    ) -> None:
        if is_foreign(args):
            env = dict(os.environ if env is None else env)
            env.pop("LD_PRELOAD", None)
        super().__init__(args, *more, env=env, **options)


if PRELOADED:
    subprocess.Popen = Popen  # type: ignore[misc]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    judge(outcome.get_result())


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector):
    outcome = yield
    judge(outcome.get_result())
