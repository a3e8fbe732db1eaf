# SPDX-License-Identifier: MIT
"""Generated requests without end, read by Greenloop, h11 and httptools.

    python tests/isolated/differential.py [--count N] [--seed N]

The long form of tests/e2e/test_http_differential.py: the same comparison of
as many cases as asked for, from a seed that is printed.  Exit status: 0, or
1 with the first cases that were read in a way nobody described.
"""

from __future__ import annotations

import argparse
import collections
import sys
import time
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))

import http_model
from harness import server
from http_cases import case
from http_differences import PEERS, difference, unlike_the_model
from http_readers import APP, ask

BATCH = 2000
SHOWN = 5  # failures, before it gives up


def compare(
    port: int,
    seed: int,
    numbers: range,
    seen: collections.Counter[tuple[str, str]],
) -> list[str]:
    """Plays some cases; what was wrong with which."""
    found = []
    cases = [case(seed, number) for number in numbers]
    for number, data, mine in zip(
        numbers, cases, ask(port, cases), strict=True
    ):
        model = http_model.read(data)
        wrong = unlike_the_model(mine, model)
        if wrong:
            found.append(f"case {number}: {wrong}\n  {data!r}")
        for peer in PEERS:
            try:
                seen[peer, difference(peer, data, model)] += 1
            except AssertionError as error:
                found.append(f"case {number}: {error}")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args(argv)
    print(f"{args.count} cases, seed {args.seed}")
    seen: collections.Counter[tuple[str, str]] = collections.Counter()
    found: list[str] = []
    with server(
        APP, "--asyncio", "64", "--disable-logging", allow_traceback=True
    ) as running:
        for at in range(0, args.count, BATCH):
            numbers = range(at, min(at + BATCH, args.count))
            found += compare(running.port, args.seed, numbers, seen)
            if len(found) >= SHOWN:
                break
    for (peer, name), count in seen.most_common():
        print(f"{count:10} {peer:10} {name or '(the same)'}")
    for line in found[:SHOWN]:
        print(f"FAILED: {line}")
    print("FAILED" if found else "PASSED: every difference is a known one")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
