# SPDX-License-Identifier: MIT
"""Serves a file of examples/ by the command that its docstring names."""

import contextlib
import pathlib
import re
import shlex
from collections.abc import Iterator

from harness import Server, server

__all__ = ["EXAMPLES", "command_of", "example"]

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"


def command_of(path: pathlib.Path) -> list[str]:
    """The options in the docstring's command, but address and file."""
    text = path.read_text("utf-8").split('"""')[1].replace("\\\n", " ")
    [command] = re.findall(r"\bgreenloop (--.*)$", text, re.M)
    words = shlex.split(command)
    assert pathlib.Path(words[-1]).name == path.name
    at = words.index("--http-socket")
    assert words[at + 1] == ":9090"
    file = words.index("--wsgi-file")
    return words[:at] + words[at + 2 : file]


@contextlib.contextmanager
def example(
    name: str, *options: str, http: str = "127.0.0.1:0", **env: str
) -> Iterator[Server]:
    """A server of examples/NAME.py; `env` is added to its environment."""
    path = EXAMPLES / f"{name}.py"
    words = [*command_of(path), *options]
    with server(path, *words, http=http, env=env) as running:
        yield running
