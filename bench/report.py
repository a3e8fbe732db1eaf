# SPDX-License-Identifier: MIT
"""From samples to medians, ratios, gates, and the tables that show them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from measure import Sample
from ws_servers import PEERS, WS_OURS

__all__ = ["Gate", "Results", "as_json", "gates", "text"]

QUIET = 0.05  # share of the two CPUs that others may use in a clean sample
OURS = ("greenloop-asyncio", "greenloop-uvloop")
YARDSTICKS = ("bjoern", "engine-floor", "floor", "ws-floor")
WS_LIMIT = 0.80  # of the best peer's CPU


@dataclass
class Results:
    """Everything that was measured, by workload and then by server."""

    load: dict[str, dict[str, list[Sample]]] = field(default_factory=dict)
    memory: dict[str, dict[str, float]] = field(default_factory=dict)
    absent: dict[str, dict[str, str]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def clean(self, workload: str, server: str) -> list[Sample]:
        """The samples to judge by: the quiet ones if they are the most."""
        samples = self.load.get(workload, {}).get(server, [])
        quiet = [each for each in samples if each.foreign <= QUIET]
        return quiet if 2 * len(quiet) > len(samples) else samples

    def is_noisy(self, workload: str, server: str) -> bool:
        """Whether most samples were taken while others used the CPUs."""
        samples = self.clean(workload, server)
        return any(each.foreign > QUIET for each in samples)

    def median(
        self, workload: str, server: str, value: Callable[[Sample], float]
    ) -> float | None:
        """The median of one figure, or None if it was not measured."""
        samples = self.clean(workload, server)
        return statistics.median(map(value, samples)) if samples else None

    def cpu_us(self, workload: str, server: str) -> float | None:
        """Median CPU time of the server per request, in microseconds."""
        return self.median(workload, server, lambda s: s.cpu_us)


@dataclass(frozen=True)
class Gate:
    """A bound that the project has set itself, and what was measured."""

    what: str
    server: str
    limit: float
    unit: str
    value: float | None  # None: not measured

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        return "pass" if self.value <= self.limit else "FAIL"


def ratio(value: float | None, base: float | None) -> float | None:
    return value / base if value is not None and base else None


def best_peer(results: Results, workload: str) -> float | None:
    """The least CPU of the WebSocket peers; None unless all were measured:
    the best of some would be an easier bound."""
    costs = [results.cpu_us(workload, peer) for peer in PEERS]
    known = [cost for cost in costs if cost is not None]
    return min(known) if len(known) == len(PEERS) else None


def ws_gates(results: Results) -> list[Gate]:
    """The gates of WebSockets, for each way to use them on both loops."""
    return [
        Gate(
            f"{workload} CPU",
            ours,
            WS_LIMIT,
            "x best peer",
            ratio(
                results.cpu_us(workload, ours), best_peer(results, workload)
            ),
        )
        for workload in ("ws-echo64", "ws-echo1", "ws-broadcast")
        for ours in WS_OURS
    ]


def gates(results: Results) -> list[Gate]:
    """All gates, those of the first release first."""
    return http_gates(results) + ws_gates(results)


def http_gates(results: Results) -> list[Gate]:
    """The gates of the first release, for both loops."""
    found = []
    for ours in OURS:
        for workload, limit in (("hello64", 1.00), ("hello1", 1.05)):
            value = ratio(
                results.cpu_us(workload, ours),
                results.cpu_us(workload, "bjoern"),
            )
            found.append(
                Gate(f"{workload} CPU", ours, limit, "x bjoern", value)
            )
        value = ratio(
            results.cpu_us("sleep1000", ours),
            results.cpu_us("hello1000", ours),
        )
        found.append(
            Gate("sleep1000 CPU", ours, 1.50, "x its hello1000", value)
        )
        for workload, limit in (("parked", 12.0), ("idle", 1.0)):
            value = results.memory.get(workload, {}).get(ours)
            found.append(Gate(f"{workload} memory", ours, limit, "KiB", value))
    return found


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns of equal width: the first to the left, the rest to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        for cell, width in zip(row[1:], widths[1:], strict=True):
            cells.append(cell.rjust(width))
        lines.append("  " + "  ".join(cells).rstrip())
    lines.insert(1, "  " + "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def cell(value: float | None, form: str = ".1f") -> str:
    return "-" if value is None else format(value, form)


def yardsticks(results: Results, workload: str) -> dict[str, float]:
    """What the CPU of every server is shown as a multiple of."""
    costs = {name: results.cpu_us(workload, name) for name in YARDSTICKS}
    costs["best peer"] = best_peer(results, workload)
    return {name: cost for name, cost in costs.items() if cost is not None}


def load_table(results: Results, workload: str) -> str:
    """Throughput, CPU, tail and ratios of one workload."""
    heads = ["", "per s", "user us", "system us", "CPU us", "min..max"]
    heads += ["p99 ms", "errors", "others"]
    bases = yardsticks(results, workload)
    rows = [heads + [f"x {name}" for name in bases]]
    for server, samples in results.load[workload].items():
        costs = [each.cpu_us for each in results.clean(workload, server)]
        row = [server + (" ~" if results.is_noisy(workload, server) else "")]
        for value, form in (
            (lambda s: s.per_second, ",.0f"),
            (lambda s: s.user_us, ".1f"),
            (lambda s: s.system_us, ".1f"),
            (lambda s: s.cpu_us, ".1f"),
        ):
            row.append(cell(results.median(workload, server, value), form))
        row.append(f"{min(costs):.1f}..{max(costs):.1f}")
        row.append(cell(results.median(workload, server, lambda s: s.p99_ms)))
        row.append(str(sum(each.errors for each in samples)))
        others = results.median(workload, server, lambda s: s.foreign)
        row.append(cell(others, ".0%"))
        cost = results.cpu_us(workload, server)
        row += [cell(ratio(cost, base), ".2f") for base in bases.values()]
        rows.append(row)
    for server, reason in results.absent.get(workload, {}).items():
        rows.append([server, reason] + [""] * (len(rows[0]) - 2))
    return table(rows)


def memory_table(results: Results, workload: str) -> str:
    rows = [["", "KiB each"]]
    for server, kib in results.memory[workload].items():
        rows.append([server, cell(kib, ".2f")])
    for server, reason in results.absent.get(workload, {}).items():
        rows.append([server, reason])
    return table(rows)


def gate_table(results: Results) -> str:
    rows = [["gate", "server", "measured", "limit", "of", "verdict"]]
    for gate in gates(results):
        rows.append(
            [
                gate.what,
                gate.server,
                cell(gate.value, ".2f"),
                format(gate.limit, ".2f"),
                gate.unit,
                gate.verdict,
            ]
        )
    return table(rows)


def text(results: Results, titles: dict[str, str]) -> str:
    """The whole report, for a terminal of 120 columns."""
    parts = []
    for workload in results.load:
        title = f"{workload}: {titles[workload]}"
        parts.append(f"{title}\n{load_table(results, workload)}")
    for workload in results.memory:
        title = f"{workload}: {titles[workload]}"
        parts.append(f"{title}\n{memory_table(results, workload)}")
    parts.append(f"Gates\n{gate_table(results)}")
    if any(
        results.is_noisy(workload, server)
        for workload, servers in results.load.items()
        for server in servers
    ):
        parts.append(
            f"~ others used more than {QUIET:.0%} of the two CPUs during "
            "most rounds:\n  repeat it on a quiet machine before you rely "
            "on these figures."
        )
    return "\n\n".join(parts)


def load_json(
    results: Results, workload: str, server: str
) -> dict[str, object]:
    """Medians of one server, and the samples that they come from."""
    return {
        "per_second": results.median(workload, server, lambda s: s.per_second),
        "user_us": results.median(workload, server, lambda s: s.user_us),
        "system_us": results.median(workload, server, lambda s: s.system_us),
        "cpu_us": results.cpu_us(workload, server),
        "p99_ms": results.median(workload, server, lambda s: s.p99_ms),
        "noisy": results.is_noisy(workload, server),
        "samples": [vars(sample) for sample in results.load[workload][server]],
    }


def as_json(results: Results) -> dict[str, object]:
    """The results as plain dicts and lists."""
    return {
        "load": {
            workload: {
                server: load_json(results, workload, server)
                for server in servers
            }
            for workload, servers in results.load.items()
        },
        "memory_kib": results.memory,
        "absent": results.absent,
        "missing": results.missing,
        "gates": [
            {**vars(gate), "verdict": gate.verdict} for gate in gates(results)
        ],
    }
