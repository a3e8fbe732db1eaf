# SPDX-License-Identifier: MIT
"""The policy of conftest.py: which skips fail under REQUIRE_PEERS=1."""

from __future__ import annotations

import pathlib

import pytest

pytestmark = pytest.mark.smoke

CONFTEST = pathlib.Path(__file__).with_name("conftest.py")
MODULE = """
import pytest

@pytest.mark.skipif(True, reason="no curl here")
def test_marked():
    pass

@pytest.fixture
def peer():
    pytest.skip("no peer here")

def test_in_a_fixture(peer):
    pass

def test_in_the_body():
    pytest.skip("nothing here")

def test_for_another_python():
    pytest.skip("not on this Python: it is for 3.99")

@pytest.mark.skipif(True, reason="seed not here: no such file")
def test_of_the_seed():
    pass

def test_passes():
    pass

@pytest.mark.xfail(strict=True, reason="fails")
def test_expected_failure():
    assert False
"""


@pytest.fixture
def inner(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    monkeypatch.delenv("REQUIRE_PEERS", raising=False)
    pytester.makeconftest(CONFTEST.read_text())
    return pytester


def run(inner: pytest.Pytester) -> dict[str, int]:
    result = inner.runpytest_subprocess("-p", "no:xdist")
    outcomes = result.parseoutcomes()
    return {key: outcomes.get(key, 0) for key in ("passed", "skipped")} | {
        "failed": sum(outcomes.get(key, 0) for key in ("failed", "errors"))
    }


def test_skips_are_skips(inner: pytest.Pytester) -> None:
    inner.makepyfile(MODULE)
    assert run(inner) == {"passed": 1, "skipped": 5, "failed": 0}


def test_peers_required(
    inner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUIRE_PEERS", "1")
    inner.makepyfile(MODULE)
    assert run(inner) == {"passed": 1, "skipped": 2, "failed": 3}


def test_peers_required_by_a_whole_module(
    inner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUIRE_PEERS", "1")
    inner.makepyfile("import pytest\npytest.importorskip('no_such_peer')\n")
    assert run(inner) == {"passed": 0, "skipped": 0, "failed": 1}
