# SPDX-License-Identifier: MIT
"""A few stops at random moments; `make sigint` runs three hundred."""

import signal

import sigint
from sigint import Outcome, Plan

RUNS = 8


def test_each_stop_is_in_time() -> None:
    outcomes = sigint.sigint(RUNS, seed=11)
    assert [outcome.failure for outcome in outcomes] == [""] * RUNS


def test_a_bad_stop_is_noticed() -> None:
    late = Plan(1, True, 0.1, False, "asyncio")
    early = Plan(0, False, 0.0, False, "asyncio")
    ready = "greenloop: ready\n"
    killed = -signal.SIGINT
    assert Outcome(late, 0, 0.5, ready).failure == ""
    assert Outcome(late, 1, 0.5, ready).failure == "status 1"
    assert Outcome(late, 0, 9.0, ready).failure == "took 9.00 s"
    assert "Traceback" in Outcome(late, 0, 0.5, ready + "Traceback").failure
    assert Outcome(early, killed, 0.1, "").failure == ""
    lost = "Exception ignored in: <function _get_module_lock.<locals>.cb at 0>"
    assert Outcome(early, 0, 0.5, lost + ready).failure == ""
    assert Outcome(early, 0, 9.0, lost + ready).failure == "took 9.00 s"
    frame = '  File "x/greenloop/cli.py", line 9, in main\n'
    assert Outcome(early, killed, 0.1, frame).failure == "status -2"
