# SPDX-License-Identifier: MIT
"""The table of options for people: `--help`, and docs/options.md."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator

from greenloop.option_table import (
    GROUPS,
    OPTIONS,
    REFUSALS,
    Kind,
    Option,
    dashed,
    engine_rows,
)
from greenloop.options import Settings

__all__ = ["help_text", "reference"]


def _default(option: Option) -> str:
    """The default as --help shows it, or an empty string."""
    if option.kind is Kind.FLAG or option.repeat:
        return ""
    if option.engine:
        initial = engine_rows()[option.engine[0]]["initial"] / option.scale
        return f"{initial:g}" if initial < 1e6 else f"{initial:.0f}"
    for field in dataclasses.fields(Settings):
        if field.name == option.field and field.default is not None:
            shown = field.default
            return f"{shown:g}" if isinstance(shown, float) else str(shown)
    return ""


def _spelling(option: Option) -> str:
    """'-l, --listen N': every name, short ones first."""
    short = [n for n in option.names if len(n) == 1]
    long = [n for n in option.names if len(n) > 1]
    value = option.metavar or "|".join(option.choices)
    if option.optional:
        value = f"[{value}]"
    return f"{', '.join(map(dashed, short + long))} {value}".rstrip()


def _explanation(option: Option) -> str:
    default = _default(option)
    if not default:
        return option.help
    return f"{option.help} (default {default})"


def help_text(prog: str, width: int = 80) -> str:
    """What --help prints, for a terminal of this width."""
    width = max(40, min(width, 100))
    usage = f"Usage: {prog} --http-socket ADDR --wsgi-file FILE [option ...]"
    summary = (
        "Serves WSGI applications on one asyncio loop; each request runs in "
        "a greenlet of its own."
    )
    lines = textwrap.wrap(
        usage, width, subsequent_indent="  ", break_on_hyphens=False
    )
    lines += ["", *textwrap.wrap(summary, width)]
    for group in GROUPS:
        lines += ["", f"{group}:"]
        for option in OPTIONS:
            if option.group == group:
                lines += _help_rows(option, width)
    example = f"{prog} --asyncio 10 --http-socket :9090 --wsgi-file app.py"
    lines += ["", "Example:"]
    lines += textwrap.wrap(
        example,
        width,
        initial_indent="  ",
        subsequent_indent="    ",
        break_on_hyphens=False,
    )
    return "\n".join(lines) + "\n"


def _help_rows(option: Option, width: int) -> Iterator[str]:
    """The names on the left, the text beside them or, if narrow, below."""
    column = 32 if width >= 72 else 8
    left = "  " + _spelling(option)
    margin = " " * column
    rows = textwrap.wrap(_explanation(option), width - column)
    if len(left) > column - 2:
        yield left
    else:
        yield left.ljust(column) + rows.pop(0)
    for row in rows:
        yield margin + row


def reference() -> str:
    """The table as Markdown: docs/options.md."""
    lines = [
        "<!-- SPDX-License-Identifier: MIT -->",
        "# Options",
        "",
        "Written by `python -m greenloop.option_help` from the option table; "
        "a test compares the two.",
    ]
    for group in GROUPS:
        lines += ["", f"## {group}", "", "| option | meaning |", "|---|---|"]
        for option in OPTIONS:
            if option.group == group:
                cells = f"`{_spelling(option)}`", _explanation(option)
                shown = (cell.replace("|", "\\|") for cell in cells)
                lines.append(f"| {' | '.join(shown)} |")
    lines += ["", *_engine_reference()]
    lines += ["", "## Options of uWSGI that are refused", ""]
    for refusal in REFUSALS:
        names = ", ".join(f"`{dashed(name)}`" for name in refusal.names)
        lines.append(f"- {names}: {refusal.sentence}")
    return "\n".join(lines) + "\n"


def _engine_reference() -> Iterator[str]:
    """What `start_server(options=...)` takes: the engine's own table."""
    yield "## The engine's options"
    yield ""
    yield "The names that `greenloop.start_server(options={...})` takes."
    yield ""
    yield "| name | unit | range | default | on the command line | meaning |"
    yield "|---|---|---|---|---|---|"
    written = {
        name: dashed(option.name)
        for option in OPTIONS
        for name in option.engine
    }
    for row in engine_rows().values():
        yield (
            f"| `{row['name']}` | {row['unit']} | {row['min']} to "
            f"{row['max']} | {row['initial']} | `{written[row['name']]}` | "
            f"{row['help']} |"
        )


if __name__ == "__main__":
    print(reference(), end="")
