# SPDX-License-Identifier: MIT
"""The test driver behind `make test`, `make check`, `make asan`,
`make asan-quick`, and the
long proofs `make soak`, `make ws-soak`, `make sigint`, `make slow-peers` and
`make fuzz-server`.

Builds and runs the C unit tests and the replay of the fuzz corpora under
AddressSanitizer and UBSan, then installs Greenloop into a virtual
environment for each Python and runs pytest there against the installed
package: the whole suite on the oldest and the newest (but tests marked `once`
only on the newest), the tests marked `smoke` on the others.  While one Python
tests, the environment of the next is made, at the lowest priority.
Everything it makes is under build/.

Every step runs, whatever the earlier ones said.  The last line printed is
"N passed, N failed, N skipped", counted over all steps; a step that could
not be run counts as one failure.  Exit status: 0, or 1 after a failure.

Environment: REQUIRE_PEERS=1 makes a failure of every skipped test and of
fewer than four Pythons.  SANITIZERS=1 adds to `make test` what `make
asan-quick` does, and leaves what that repeats out of the newest Python's run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
C_BUILD = BUILD / "c"
RESULTS = BUILD / "results"
# Asserts on, and a warning is an error.
DEVELOPMENT = ("-Db_ndebug=false", "-Dwerror=true")
SANITIZE = "-Db_sanitize=address,undefined"
PEER_PYTHONS = 4
TESTS = ROOT / "tests"
# The folder of the longest tests comes first, so that they are not waited
# for at the end.
SUITE = (TESTS / "isolated", TESTS / "e2e", TESTS / "unit")
SUITE += tuple(sorted(TESTS.glob("test_*.py")))
# Most tests wait for something: more workers than processors pay off.
WORKERS = "3"


@dataclass
class Count:
    """Results of tests, added up."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __str__(self) -> str:
        return (
            f"{self.passed} passed, {self.failed} failed, "
            f"{self.skipped} skipped"
        )

    def add(self, other: Count) -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped


def read_junit(path: Path) -> Count:
    """Counts the cases of a JUnit file."""
    count = Count()
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            count.failed += 1
        elif case.find("skipped") is not None:
            count.skipped += 1
        else:
            count.passed += 1
    return count


def run(command: Sequence[object], env: Mapping[str, str] = {}) -> int:
    """Runs a command in the root; returns its exit status."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=ROOT, env={**os.environ, **env})
    return done.returncode


def describe(python: str) -> tuple[int, int]:
    """The (major, minor) version of an interpreter."""
    code = "import sys; print(*sys.version_info[:2])"
    text = subprocess.check_output([python, "-c", code], text=True)
    major, minor = text.split()
    return int(major), int(minor)


def dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


class Driver:
    """Runs the steps and adds up what they counted."""

    def __init__(self) -> None:
        self.total = Count()
        self._installer = ThreadPoolExecutor(max_workers=1)
        self._installs: dict[Path, Future[int]] = {}

    def step(self, title: str) -> float:
        print(f"\n=== {title}", flush=True)
        return time.monotonic()

    def end(
        self, title: str, since: float, status: int, junit: Path | None = None
    ) -> None:
        """Adds a step's results: those in its file, and its exit status."""
        count = Count()
        if junit is not None and junit.exists():
            count = read_junit(junit)
        if status != 0 and count.failed == 0:
            count.failed = 1
        seconds = time.monotonic() - since
        verdict = f"{count.failed} FAILED" if count.failed else "ok"
        print(f"--- {title}: {verdict} ({seconds:.0f} s)", flush=True)
        self.total.add(count)

    def c_tests(self, tools: Path) -> None:
        title = "C units and corpus replay, ASan and UBSan"
        since = self.step(title)
        junit = C_BUILD / "meson-logs" / "testlog.junit.xml"
        junit.unlink(missing_ok=True)
        meson = tools / "bin" / "meson"
        env = {"PATH": f"{tools / 'bin'}:{os.environ['PATH']}"}
        setup = [
            *(meson, "setup", C_BUILD, "--buildtype=debugoptimized"),
            *("-Dextension=false", "-Dprograms=true", SANITIZE),
            *DEVELOPMENT,
        ]
        if (C_BUILD / "build.ninja").exists():
            setup.append("--reconfigure")
        status = run(setup, env)
        if status == 0:
            status = run(
                [meson, "test", "-C", C_BUILD, "--print-errorlogs"], env
            )
        self.end(title, since, status, junit)

    def begin_install(
        self, python: str, folder: Path, setup: Sequence[str] = DEVELOPMENT
    ) -> None:
        """Starts to install Greenloop into `folder`, after earlier ones."""
        command = [
            *("nice", "-n", "19", ROOT / "tools" / "venv.sh"),
            *(python, folder),
            *("-r", "tests/requirements.txt", "--install", *setup),
        ]
        self._installs[folder] = self._installer.submit(run, command)

    def installed(
        self, python: str, folder: Path, setup: Sequence[str]
    ) -> bool:
        """Waits until it is; whether it worked."""
        if folder not in self._installs:
            self.begin_install(python, folder, setup)
        return self._installs.pop(folder).result() == 0

    def pytest(
        self,
        title: str,
        python: str,
        folder: Path,
        *,
        setup: Sequence[str] = DEVELOPMENT,
        env: Mapping[str, str] = {},
        selection: Sequence[str] = (),
        paths: Sequence[Path] = SUITE,
    ) -> None:
        """Installs Greenloop into `folder` and runs pytest there."""
        since = self.step(title)
        junit = RESULTS / f"{folder.name}.xml"
        junit.unlink(missing_ok=True)
        status = 1
        if self.installed(python, folder, setup):
            status = run(
                [
                    *(folder / "bin" / "python", "-m", "pytest", *paths),
                    # Very quiet: the counts are printed at the end, once.
                    *("-qq", "-n", WORKERS, "--dist", "loadfile"),
                    "--no-loadscope-reorder",
                    *(f"--junit-xml={junit}", *selection),
                ],
                env,
            )
        self.end(title, since, status, junit)

    def script(
        self,
        words: Sequence[str],
        python: str,
        folder: Path,
        setup: Sequence[str],
        env: Mapping[str, str],
    ) -> None:
        """Installs Greenloop into `folder` and runs a script there."""
        title = f"{' '.join(words)}, in {folder.relative_to(ROOT)}"
        since = self.step(title)
        status = 1
        if self.installed(python, folder, setup):
            script = ROOT / "tests" / "isolated" / words[0]
            status = run([folder / "bin" / "python", script, *words[1:]], env)
        self.total.passed += status == 0
        self.end(title, since, status)

    def refuse(self, sentence: str) -> None:
        print(f"FAILED: {sentence}", flush=True)
        self.total.failed += 1


DEVELOPER_MODE = {"PYTHONDEVMODE": "1", "PYTHONMALLOC": "debug"}


def whole(driver: Driver, pythons: Sequence[str], tools: Path) -> None:
    """Everything, on every Python."""
    found = sorted((describe(python), python) for python in pythons)
    print("Pythons:")
    for version, python in found:
        print(f"  {dotted(version)} {python}", flush=True)
    if os.environ.get("REQUIRE_PEERS") == "1" and len(found) < PEER_PYTHONS:
        driver.refuse(
            f"REQUIRE_PEERS=1 asks for {PEER_PYTHONS} CPythons, "
            f"and there are {len(found)}"
        )
    for version, python in found:
        driver.begin_install(python, BUILD / f"venv-{dotted(version)}")
    if os.environ.get("SANITIZERS") == "1":
        driver.begin_install(found[-1][1], BUILD / "asan", SANITIZED)
    driver.c_tests(tools)
    for version, python in found:
        name = dotted(version)
        title = f"Python {name}"
        env: dict[str, str] = {}
        selection: list[str] = []
        if version == found[-1][0]:
            title += ", whole suite, developer mode and checked allocator"
            env = DEVELOPER_MODE
            if os.environ.get("SANITIZERS") == "1":
                title += ", but for what comes next"
                selection = [f"--ignore={path}" for path in quick_tests()]
        elif version == found[0][0]:
            title += ", whole suite"
            selection = ["-m", "not once"]
        else:
            title += ", smoke tests"
            selection = ["-m", "smoke"]
        driver.pytest(
            title, python, BUILD / f"venv-{name}", env=env, selection=selection
        )
    if os.environ.get("SANITIZERS") == "1":
        asan_quick(driver, found[-1][1])


def check(driver: Driver, python: str, tools: Path) -> None:
    """The quick selection: C units, smoke tests, checkers."""
    driver.c_tests(tools)
    version = dotted(describe(python))
    folder = BUILD / f"venv-{version}"
    driver.pytest(
        "smoke tests, developer mode and checked allocator",
        python,
        folder,
        env=DEVELOPER_MODE,
        selection=["-m", "smoke"],
    )
    title = "lint, types, and the stub against the extension module"
    since = driver.step(title)
    # The tools run on the same Python: they see the packages of that folder.
    packages = folder / "lib" / f"python{version}" / "site-packages"
    status = run([tools / "bin" / "ruff", "check", "--quiet", "."])
    status |= run(
        [
            *(tools / "bin" / "mypy", "--python-executable"),
            *(folder / "bin" / "python", "python/greenloop"),
        ]
    )
    status |= run(
        [tools / "bin" / "stubtest", "--concise", "greenloop._core"],
        {"PYTHONPATH": str(packages)},
    )
    driver.end(title, since, status)


def library(name: str) -> str:
    """The path of a library that comes with the compiler."""
    compiler = os.environ.get("CC", "gcc").split()
    return subprocess.check_output(
        [*compiler, f"-print-file-name={name}"], text=True
    ).strip()


SANITIZED = (
    *DEVELOPMENT,
    SANITIZE,
    "-Db_lundef=false",
    "-Dc_args=--param=asan-stack=0",
)


def sanitizer_environment() -> dict[str, str]:
    """What a Python with a sanitized extension has to be run with.

    Stack checks are off (above), because greenlet copies slices of the stack
    with memcpy() and would be reported.  libstdc++ is loaded early, because
    libasan alone aborts at greenlet's first C++ exception.
    """
    libraries = [library("libasan.so"), library("libstdc++.so.6")]
    return {
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        "PYTHONMALLOC": "malloc",
    }


def asan(driver: Driver, python: str) -> None:
    """The whole pytest suite with the extension under ASan and UBSan."""
    driver.pytest(
        "whole suite, extension under ASan and UBSan",
        python,
        BUILD / "asan",
        setup=SANITIZED,
        env=sanitizer_environment(),
    )


# What bytes from outside reach first; the longest of it comes first.
QUICK_PATHS = (
    "isolated/test_fuzz_server.py",
    *("e2e/test_http_*.py", "e2e/test_tls.py", "e2e/test_ws_*.py"),
    *("e2e/test_wsgi_input.py", "e2e/test_wsgi_response.py"),
)


def quick_tests() -> list[Path]:
    return [path for glob in QUICK_PATHS for path in sorted(TESTS.glob(glob))]


def asan_quick(driver: Driver, python: str) -> None:
    """The part of it that continuous integration has the time for."""
    driver.pytest(
        f"Python {dotted(describe(python))}, what outside bytes reach, "
        "extension under ASan and UBSan",
        python,
        BUILD / "asan",
        setup=SANITIZED,
        env={**sanitizer_environment(), "PYTHONDEVMODE": "1"},
        paths=quick_tests(),
    )


# The scripts of tests/isolated behind each long proof, with their arguments;
# and what they are given more under the sanitizers, or None: not run there.
PROOFS: dict[str, list[tuple[list[str], list[str] | None]]] = {
    "soak": [
        (["leaks.py"], None),
        (["leaks.py", "--loop", "uvloop"], None),
        (["soak.py"], None),
        (["soak.py", "--loop", "uvloop"], None),
    ],
    "ws-soak": [
        (["ws_soak.py"], None),
        (["ws_soak.py", "--loop", "uvloop"], None),
    ],
    "sigint": [(["sigint.py"], ["--scale", "2"])],
    "slow-peers": [
        (["slow_peers.py"], None),
        (["slow_peers.py", "--loop", "uvloop"], None),
    ],
    "fuzz-server": [
        (["fuzz_server.py"], []),
        (["fuzz_server.py", "--loop", "uvloop", "--seed", "2"], []),
    ],
}


def prove(driver: Driver, what: str, python: str) -> None:
    """The long runs of one proof, plain and then under the sanitizers."""
    for words, more in PROOFS[what]:
        driver.script(words, python, BUILD / "proof", (), {})
        if more is not None:
            driver.script(
                [*words, *more],
                python,
                BUILD / "asan",
                SANITIZED,
                sanitizer_environment(),
            )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "what", choices=["whole", "check", "asan", "asan-quick", *PROOFS]
    )
    parser.add_argument("--tools", type=Path, required=True)
    parser.add_argument("pythons", nargs="+")
    args = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    # The environments are installed without bytecode: each program compiles
    # what it imports once, not at every start.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    driver = Driver()
    if args.what == "whole":
        whole(driver, args.pythons, args.tools.absolute())
    elif args.what == "check":
        check(driver, args.pythons[-1], args.tools.absolute())
    elif args.what == "asan":
        asan(driver, args.pythons[-1])
    elif args.what == "asan-quick":
        asan_quick(driver, args.pythons[-1])
    else:
        prove(driver, args.what, args.pythons[-1])
    print(f"\n{driver.total}")
    return 1 if driver.total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
