# SPDX-License-Identifier: MIT
"""What a skip means: REQUIRE_PEERS=1 turns it into a failure.

Where all programs that the tests talk to are said to be there, a test that
is skipped is a test that silently stopped testing.  Two reasons stay
allowed, by how they begin:

    not on this Python:   the test is for other versions
    seed not here:        the document with the seed's examples is absent
"""

from __future__ import annotations

import os

import pytest

# For the test of this file itself.
pytest_plugins = ["pytester"]

ALLOWED = ("not on this Python:", "seed not here:")


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


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    judge(outcome.get_result())


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector):
    outcome = yield
    judge(outcome.get_result())
