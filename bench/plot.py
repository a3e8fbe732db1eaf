# SPDX-License-Identifier: MIT
"""Bar charts of the results as one SVG file that needs nothing else."""

from __future__ import annotations

from html import escape

from report import Results

__all__ = ["svg"]

LABEL = 170  # width of the servers' names
SCALE = 430  # length of the longest bar
WIDTH = LABEL + SCALE + 130
BAR = 16
STEP = 24
USER, SYSTEM, MEMORY = "#2f7d4f", "#a5cfb4", "#4a6fa5"

Segments = tuple[tuple[float, str], ...]


def text(x: float, y: float, words: str, attributes: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {attributes}>{escape(words)}</text>'


def bar(y: float, segments: Segments, longest: float) -> tuple[str, float]:
    """The rectangles of one bar, and the x at which it ends."""
    x, shapes = float(LABEL), []
    for value, colour in segments:
        length = SCALE * value / longest
        shapes.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{length:.1f}" '
            f'height="{BAR}" fill="{colour}"/>'
        )
        x += length
    return "".join(shapes), x


def panel(
    top: float, title: str, rows: dict[str, Segments], unit: str
) -> tuple[list[str], float]:
    """One chart; returns its parts and the y below it."""
    sums = {name: sum(v for v, _ in row) for name, row in rows.items()}
    longest = max([*sums.values(), 0.001])
    parts = [text(0, top, title, 'font-weight="bold"')]
    y = top + 12
    for name, segments in rows.items():
        shapes, end = bar(y, segments, longest)
        parts.append(text(LABEL - 8, y + 12, name, 'text-anchor="end"'))
        parts.append(shapes)
        parts.append(text(end + 6, y + 12, f"{sums[name]:.2f} {unit}"))
        y += STEP
    return parts, y + 24


def load_rows(results: Results, workload: str) -> dict[str, Segments]:
    rows: dict[str, Segments] = {}
    for server in results.load[workload]:
        user = results.median(workload, server, lambda s: s.user_us) or 0.0
        system = results.median(workload, server, lambda s: s.system_us) or 0.0
        rows[server] = ((user, USER), (system, SYSTEM))
    return rows


def memory_rows(results: Results, workload: str) -> dict[str, Segments]:
    return {
        server: ((max(0.0, kib), MEMORY),)
        for server, kib in results.memory[workload].items()
    }


def svg(results: Results, titles: dict[str, str]) -> str:
    """The charts of every workload, one below the other."""
    parts: list[str] = []
    y = 30.0
    for workload in results.load:
        title = f"{titles[workload]}: CPU per request, user and system"
        more, y = panel(y, title, load_rows(results, workload), "us")
        parts += more
    for workload in results.memory:
        rows = memory_rows(results, workload)
        more, y = panel(y, titles[workload], rows, "KiB")
        parts += more
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + 40}" '
            f'height="{y:.0f}" font-family="sans-serif" font-size="12">',
            f'<rect width="{WIDTH + 40}" height="{y:.0f}" fill="white"/>',
            '<g transform="translate(20 0)">',
            *parts,
            "</g>",
            "</svg>",
            "",
        ]
    )
