# SPDX-License-Identifier: MIT
"""What `make fuzz-all` runs: every fuzz target for so long, some at once.

    tools/fuzz_all.py FOLDER [--seconds N] [--jobs N] [TARGET]...

FOLDER is a build with -Dfuzzers=true.  A target begins with the inputs that
the repository keeps (fuzz/corpus and fuzz/regression) and with those that
earlier runs left in build/fuzz-corpus, where new ones go.  A table says what
each did; an input that ends a target, hangs it for ten seconds or makes it
use 2 GiB is a finding, and kept in build/fuzz-findings.  Exit status: 0, or
1 with findings or with a target that could not be run.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT / "build" / "fuzz-corpus"
FINDINGS = ROOT / "build" / "fuzz-findings"
HANG_SECONDS = 10
MEMORY_MIB = 2048
# Beyond the time that a target is given: it loads its corpus first, and a
# busy machine is slow.
PATIENCE_SECONDS = 300


@dataclass
class Run:
    """What one target did."""

    name: str
    inputs: str = "-"  # run
    edges: str = "-"  # reached
    added: int = 0  # files that reach something new
    finding: str = ""
    log: str = ""


def targets(folder: Path) -> list[str]:
    """The names of the targets that were built."""
    found = (path for path in folder.glob("fuzz/fuzz_*") if path.is_file())
    return sorted(path.name.removeprefix("fuzz_") for path in found)


def files(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir())


def judge(run: Run, status: int) -> None:
    """Reads libFuzzer's log."""
    for pattern, field in (
        (r"stat::number_of_executed_units: +(\d+)", "inputs"),
        (r"\bcov: (\d+)", "edges"),
    ):
        numbers = re.findall(pattern, run.log)
        if numbers:
            setattr(run, field, numbers[-1])
    kept = re.findall(r"Test unit written to (\S+)", run.log)
    if kept:
        run.finding = kept[-1]
    elif status != 0:
        run.finding = f"exit status {status}"


def fuzz(folder: Path, name: str, seconds: int) -> Run:
    """Runs one target to its end."""
    own = CORPUS / name
    own.mkdir(parents=True, exist_ok=True)
    kept = [ROOT / "fuzz" / kind / name for kind in ("corpus", "regression")]
    before = files(own)
    command = [
        str(folder / "fuzz" / f"fuzz_{name}"),
        *(f"-max_total_time={seconds}", f"-timeout={HANG_SECONDS}"),
        *(f"-rss_limit_mb={MEMORY_MIB}", "-print_final_stats=1"),
        f"-artifact_prefix={FINDINGS / name}-",
        *(str(path) for path in (own, *kept) if path.is_dir()),
    ]
    run = Run(name)
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=seconds + PATIENCE_SECONDS,
        )
        run.log = done.stderr.decode(errors="backslashreplace")
        judge(run, done.returncode)
    except (OSError, subprocess.TimeoutExpired) as error:
        run.finding = str(error)
    run.added = files(own) - before
    print(f"  {name}: {run.finding or 'nothing found'}", flush=True)
    return run


def report(runs: Sequence[Run]) -> None:
    print(f"\n{'target':16}{'inputs':>12}{'edges':>8}{'new':>6}  finding")
    for run in runs:
        print(
            f"{run.name:16}{run.inputs:>12}{run.edges:>8}{run.added:>6}  "
            f"{run.finding or 'none'}"
        )
    for run in runs:
        if run.finding:
            print(f"\n--- the end of {run.name}'s log\n{run.log[-4000:]}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("targets", nargs="*")
    args = parser.parse_args(argv)
    FINDINGS.mkdir(parents=True, exist_ok=True)
    folder = args.folder.absolute()
    names = args.targets or targets(folder)
    if not names:
        print(f"no fuzz target in {folder}")
        return 1
    print(f"{len(names)} targets, {args.seconds} s each, {args.jobs} at once")
    with ThreadPoolExecutor(args.jobs) as pool:
        runs = list(
            pool.map(lambda name: fuzz(folder, name, args.seconds), names)
        )
    report(runs)
    return 1 if any(run.finding for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
