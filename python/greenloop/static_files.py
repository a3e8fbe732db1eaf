# SPDX-License-Identifier: MIT
"""From the command line to what Engine.serve_files() takes.

Serving itself is in C (src/engine/static.c): here names become absolute and
media types are gathered, once, at the start.
"""

from __future__ import annotations

import mimetypes
import os
from typing import Any

from greenloop.options import Settings

__all__ = ["TypesError", "configuration", "missing_folders"]

# What CPython's table lacks, or says differently from version to version.
TYPES = {
    ".avif": "image/avif",
    ".br": "application/x-brotli",
    ".bz2": "application/x-bzip2",
    ".gz": "application/gzip",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".m4a": "audio/mp4",
    ".map": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".ogg": "audio/ogg",
    ".otf": "font/otf",
    ".rtf": "application/rtf",
    ".ttf": "font/ttf",
    ".wasm": "application/wasm",
    ".webm": "video/webm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xz": "application/x-xz",
    ".zst": "application/zstd",
}

Pairs = list[tuple[bytes, bytes]]


class TypesError(Exception):
    """A file of media types cannot be read; the text is one sentence."""


def configuration(settings: Settings) -> tuple[dict[str, Pairs], int] | None:
    """The arguments of Engine.serve_files(), or None to serve no files.

    Names are taken from the current directory.  Raises TypesError.
    """
    maps = _maps(settings)
    if not (maps or settings.check_static or settings.x_sendfile):
        return None
    files = [pair for pair in maps if os.path.isfile(pair[1])]
    lists: dict[str, Pairs] = {
        "files": _pairs(files),
        "maps": _pairs([pair for pair in maps if pair not in files]),
        "checks": _pairs([("", _whole(d)) for d in settings.check_static]),
        "indexes": _pairs([(name, "") for name in settings.static_indexes]),
        "safe": _pairs([(_whole(d), "") for d in settings.static_safe]),
        "skips": _pairs([(end, "") for end in settings.static_skip_ext]),
        "types": _pairs(sorted(_types(settings.mime_files).items())),
        "sendfile": _pairs([(_whole(d), "") for d in settings.x_sendfile]),
    }
    age = settings.static_max_age
    return lists, -1 if age is None else age


def missing_folders(settings: Settings) -> list[str]:
    """Folders of the options that are not there (yet)."""
    named = [target for _prefix, target in _maps(settings)]
    others = settings.check_static + settings.static_safe + settings.x_sendfile
    named += [_whole(folder) for folder in others]
    return [path for path in named if not os.path.exists(path)]


def _whole(path: str) -> str:
    return os.path.abspath(path)


def _maps(settings: Settings) -> list[tuple[str, str]]:
    """Prefixes and the absolute names of their folders or files."""
    plain = [(prefix, _whole(to)) for prefix, to in settings.static_maps]
    # uWSGI's second form: the prefix is a part of the file's name, too.
    return plain + [
        (prefix, _whole(to + prefix)) for prefix, to in settings.static_maps2
    ]


def _pairs(pairs: list[tuple[str, str]]) -> Pairs:
    return [(os.fsencode(key), os.fsencode(value)) for key, value in pairs]


def _types(files: list[str]) -> dict[str, str]:
    """Extensions, with their dots, and types: the same on every machine."""
    found: Any = mimetypes.MimeTypes().types_map[True]
    types = {ending.lower(): kind for ending, kind in found.items()} | TYPES
    for name in files:
        table = mimetypes.MimeTypes()
        before = {**table.types_map[True]}
        try:
            table.read(name)
        except (OSError, UnicodeDecodeError) as error:
            raise TypesError(f"cannot read --mime-file: {error}.") from None
        types |= {
            ending.lower(): kind
            for ending, kind in table.types_map[True].items()
            if before.get(ending) != kind
        }
    return types
