# SPDX-License-Identifier: MIT
"""The rules of style which a machine can check, checked on the whole tree.

Each rule is a generator: it takes a file's path (relative to the root) and
its text, and yields "line: complaint" for what breaks the rule.  Each comes
with a snippet that breaks it and one that does not, so that a rule which
stopped finding anything fails too.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable, Iterator

import pytest

pytestmark = pytest.mark.smoke

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = (
    ".ci",
    "bench",
    "docs",
    "examples",
    "fuzz",
    "python",
    "src",
    "tests",
    "tools",
)
DATA_FOLDERS = {"corpus", "regression", "results", "__pycache__"}
CODE = {".c", ".h", ".py", ".pyi", ".sh"}
PROSE = {".in", ".ini", ".md", ".toml", ".txt", ".yml"}
NAMED_CODE = {"Makefile", "meson.build", "meson.options", "run"}
# What each layer of src may include.
LAYERS = {
    "base": {"base"},
    "proto": {"base", "proto"},
    "engine": {"base", "proto", "engine"},
    "super": {"base", "super"},
    "py": {"base", "proto", "engine", "super", "py"},
}
TABLE_TYPES = {
    "PyGetSetDef",
    "PyMemberDef",
    "PyMethodDef",
    "PyModuleDef",
    "PyModuleDef_Slot",
    "PyType_Slot",
    "PyType_Spec",
}
# Documented functions, and greenlet's own table.
PUBLIC_UNDERSCORED = {"_PyBytes_Resize", "_PyGreenlet_API"}
BANNED = (
    "atoi",
    "exit",
    "gets",
    "sprintf",
    "strcat",
    "strcpy",
    "strtok",
    "system",
    "vsprintf",
)
LONG_FUNCTION = 60
LONGEST_FUNCTION = 100
# Places of one machine, and words that say nothing.  Written as patterns
# that do not match themselves.
FOREIGN_WORDS = re.compile(
    r"(?<![\w.])/(?:[r]oot|[w]ork)/|[h]elper|[L]LM\b|[C]hatGPT|[C]laude"
    r"|[C]opilot|[A]I[ -]generated|[l]anguage model|\.[p]yenv/versions"
    r"|[i]ndex-url|[f]ind-links|[t]rusted-host",
    re.IGNORECASE,
)

Rule = Callable[[pathlib.PurePath, str], Iterator[str]]


def blank(match: re.Match[str]) -> str:
    """As many lines as the text had, and nothing else."""
    return " " + "\n" * match.group().count("\n")


def bare(text: str) -> str:
    """C source without its comments and the insides of its literals."""
    pattern = r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'"

    def replace(match: re.Match[str]) -> str:
        return '""' if match.group()[0] in "\"'" else blank(match)

    return re.sub(pattern, replace, text, flags=re.DOTALL)


def line_of(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def is_c(path: pathlib.PurePath) -> bool:
    return path.suffix in (".c", ".h")


def in_src(path: pathlib.PurePath) -> bool:
    return is_c(path) and path.parts[0] == "src"


def include_direction(path: pathlib.PurePath, text: str) -> Iterator[str]:
    if not is_c(path):
        return
    layer = path.parts[1] if in_src(path) else None
    allowed = LAYERS[layer] if layer else set(LAYERS) - {"py"}
    for match in re.finditer(r'^#include "([^"/]+)/', text, re.M):
        target = match.group(1)
        if target in LAYERS and target not in allowed:
            yield f"{line_of(text, match.start())}: includes {target}"


def python_in_py_only(path: pathlib.PurePath, text: str) -> Iterator[str]:
    if not is_c(path):
        return
    for match in re.finditer(r'^#include [<"]([^>"]+)[>"]', text, re.M):
        name = match.group(1)
        line = line_of(text, match.start())
        if name == "Python.h" and path.parts[:2] != ("src", "py"):
            yield f"{line}: Python.h outside src/py"
        if "greenlet.h" in name and str(path) != "src/py/bridge.c":
            yield f"{line}: greenlet.h outside src/py/bridge.c"


def banned_functions(path: pathlib.PurePath, text: str) -> Iterator[str]:
    if not in_src(path):
        return
    text = bare(text)
    pattern = rf"\b({'|'.join(BANNED)})\s*\("
    for match in re.finditer(pattern, text):
        yield f"{line_of(text, match.start())}: calls {match.group(1)}()"


def function_length(path: pathlib.PurePath, text: str) -> Iterator[str]:
    if not is_c(path):
        return
    text = bare(text)
    # Only a function's brace stands alone in the first column.
    for match in re.finditer(r"^\{\n(.*?)^\}$", text, re.M | re.DOTALL):
        # Rows of a constant table are data.
        table = r"^    static const .*?^    \};\n"
        body = re.sub(table, "", match.group(1), flags=re.M | re.DOTALL)
        lines = body.count("\n")
        switch = re.search(r"\bswitch\b", body)
        if lines > (LONGEST_FUNCTION if switch else LONG_FUNCTION):
            yield (
                f"{line_of(text, match.start())}: a function of {lines} lines"
            )


def no_writable_statics(path: pathlib.PurePath, text: str) -> Iterator[str]:
    if not in_src(path):
        return
    text = bare(text)
    for match in re.finditer(r"^[ \t]*static\s+([^;={]*)", text, re.M):
        declaration = match.group(1)
        function = re.search(r"\w\s*\(", declaration)
        if function and "(*" not in declaration:
            continue
        words = set(re.findall(r"\w+", declaration))
        # What counts is the object, not that to which it points.
        last = declaration.rsplit("*", 1)[-1]
        if "const" not in last.split() and not words & TABLE_TYPES:
            line = line_of(text, match.start())
            yield f"{line}: writable: static {' '.join(declaration.split())}"


def no_globals(path: pathlib.PurePath, text: str) -> Iterator[str]:
    if not in_src(path):
        return
    text = bare(text)
    # A definition in the first column: words, then a name, then = or ;.
    pattern = r"^(\w[\w \t]*[ *]+\w+(?:\[[^\]]*\])*)\s*[=;]"
    for match in re.finditer(pattern, text, re.M):
        words = match.group(1).split()
        if words[0] in ("static", "extern", "typedef"):
            continue
        declared = words[0] in ("struct", "enum") and len(words) == 2
        if not declared and not {"const", *TABLE_TYPES} & set(words):
            yield f"{line_of(text, match.start())}: global {match.group(1)}"


def layout(path: pathlib.PurePath, text: str) -> Iterator[str]:
    indents_by_tab = path.name == "Makefile"
    for number, line in enumerate(text.split("\n"), 1):
        if "\t" in line and not indents_by_tab:
            yield f"{number}: a tab"
        if len(line) > 79:
            yield f"{number}: {len(line)} columns"
        if line != line.rstrip():
            yield f"{number}: blanks at the end"
    if not text.endswith("\n") or text.endswith("\n\n"):
        yield "0: ends without one line end"


def opening(path: pathlib.PurePath, text: str) -> Iterator[str]:
    first = text.lstrip().split("\n", 1)[0]
    if not first.startswith(("/*", "//", "#", '"""')):
        yield "1: does not open with a comment"
    if "SPDX-License-Identifier: MIT\n" not in text:
        yield "1: names no licence"


def public_api_only(path: pathlib.PurePath, text: str) -> Iterator[str]:
    if path.parts[:2] != ("src", "py"):
        return
    text = bare(text)
    for match in re.finditer(r"\b_Py_?[A-Z]\w*|pycore_\w*", text):
        if match.group() not in PUBLIC_UNDERSCORED:
            yield f"{line_of(text, match.start())}: {match.group()}"


def no_foreign_words(path: pathlib.PurePath, text: str) -> Iterator[str]:
    for match in FOREIGN_WORDS.finditer(text):
        yield f"{line_of(text, match.start())}: {match.group()!r}"


def program_lists(path: pathlib.PurePath, text: str) -> Iterator[str]:
    """Every C test and fuzz target is named in its meson.build."""
    prefix = {"tests/c": "test_", "fuzz": "fuzz_"}.get(str(path.parent))
    if path.name != "meson.build" or prefix is None:
        return
    for file in sorted((ROOT / path.parent).glob(f"{prefix}*.c")):
        if f"'{file.stem.removeprefix(prefix)}'" not in text:
            yield f"1: does not list {file.name}"


def source_lists(path: pathlib.PurePath, text: str) -> Iterator[str]:
    """Every file beside a meson.build is named in it, and none is twice."""
    if path.name != "meson.build" or path.parts[0] not in ("src", "python"):
        return
    folder = ROOT / path.parent
    listed = re.findall(r"'([\w/]+\.(?:c|pyi?))'", text)
    pattern = "*.c" if path.parts[0] == "src" else "**/*.py*"
    for file in sorted(folder.glob(pattern)):
        name = str(file.relative_to(folder))
        if file.suffix in (".c", ".py", ".pyi") and name not in listed:
            yield f"1: does not list {name}"
    for name in sorted({name for name in listed if listed.count(name) > 1}):
        yield f"1: lists {name} twice"


LONG = "int\nf(void)\n{\n" + "    g();\n" * 61 + "}\n"
TABLE = "    static const int rows[] = {\n" + "        1,\n" * 60 + "    };\n"
SWITCH = "int\nf(void)\n{\n    switch (a) {\n    }\n" + "    g();\n" * 61
HEADER = "/* a.c - a file.\n *\n * SPDX-License-Identifier: MIT\n */\n"

# rule, a path, what breaks it there, what does not
EXAMPLES: list[tuple[Rule, str, str, str]] = [
    (
        include_direction,
        "src/proto/a.c",
        '#include "engine/engine.h"\n',
        '#include "base/str.h"\n',
    ),
    (
        include_direction,
        "src/base/a.h",
        '#include "proto/url.h"\n',
        '#include "base/str.h"\n',
    ),
    (
        include_direction,
        "src/engine/a.c",
        '#include "super/board.h"\n',
        '#include "proto/url.h"\n',
    ),
    (
        include_direction,
        "tests/c/a.c",
        '#include "py/core.h"\n',
        '#include "engine/engine.h"\n',
    ),
    (
        python_in_py_only,
        "src/engine/a.c",
        "#include <Python.h>\n",
        "#include <stdio.h>\n",
    ),
    (
        python_in_py_only,
        "src/py/core.c",
        "#include <greenlet/greenlet.h>\n",
        "#include <Python.h>\n",
    ),
    (
        banned_functions,
        "src/base/a.c",
        "    strcpy(a, b);\n",
        '    _exit(1); /* not exit(1) */\n    log("system(1)");\n',
    ),
    (banned_functions, "src/py/a.c", "    n = atoi (a);\n", "    f();\n"),
    (function_length, "src/base/a.c", LONG, SWITCH + "}\n"),
    (
        function_length,
        "src/base/a.c",
        SWITCH + "    g();\n" * 40 + "}\n",
        SWITCH + "}\n",
    ),
    (
        function_length,
        "src/base/a.c",
        LONG.replace("{\n", "{\n" + TABLE),
        "int\nf(void)\n{\n" + TABLE + "    g();\n}\n",
    ),
    (
        no_writable_statics,
        "src/base/a.c",
        "static int counter;\n",
        "static const int limits[] = {1};\nstatic int\nf(int a)\n{\n}\n",
    ),
    (
        no_writable_statics,
        "src/base/a.c",
        'static const char *names[] = {"a"};\n',
        'static const char *const names[] = {"a"};\n',
    ),
    (
        no_writable_statics,
        "src/py/a.c",
        "int\nf(void)\n{\n    static PyObject *cache = NULL;\n}\n",
        "static PyMethodDef methods[] = {{NULL}};\nstatic_assert(1);\n",
    ),
    (
        no_writable_statics,
        "src/base/a.c",
        "static void (*hook)(void);\n",
        "static void hook(void);\n",
    ),
    (
        no_globals,
        "src/base/a.c",
        "int counter = 0;\n",
        "const int gl_limit = 1;\nstruct gl_x;\nextern const int gl_y;\n",
    ),
    (
        no_globals,
        "src/base/a.c",
        "struct gl_log log_state;\n",
        "int gl_f(int a);\nstruct gl_x {\n    int a;\n};\n",
    ),
    (layout, "src/base/a.c", "\tint a;\n", "    int a;\n"),
    (layout, "python/a.py", "a" * 80 + "\n", "a" * 79 + "\n"),
    (layout, "src/base/a.c", "int a; \n", "int a;\n"),
    (layout, "src/base/a.c", "int a;", "int a;\n"),
    (opening, "src/base/a.c", "#define A\n" + "int a;\n", HEADER),
    (
        opening,
        "src/base/a.c",
        "int a;\n/* SPDX-License-Identifier: MIT\n */\n",
        HEADER,
    ),
    (
        public_api_only,
        "src/py/a.c",
        "    _PyObject_GetDictPtr(o);\n",
        "    PyObject_GetAttr(o); /* not _PyObject_Lookup */\n",
    ),
    (
        public_api_only,
        "src/py/a.h",
        "#include <internal/pycore_frame.h>\n",
        "#include <Python.h>\n",
    ),
    (no_foreign_words, "docs/a.md", "see /ro" + "ot/x\n", "see /srv/x\n"),
    (no_foreign_words, "src/base/a.c", "/* hel" + "per */\n", "/* a */\n"),
    (
        source_lists,
        "python/greenloop/meson.build",
        "python.install_sources()\n",
        (ROOT / "python/greenloop/meson.build").read_text(),
    ),
    (
        program_lists,
        "tests/c/meson.build",
        "foreach name : [\n]\nendforeach\n",
        (ROOT / "tests/c/meson.build").read_text(),
    ),
    (
        source_lists,
        "src/none/meson.build",
        "a('x.c', 'x.c')\n",
        "a('x.c')\n",
    ),
]
RULES = list(dict.fromkeys(rule for rule, *_rest in EXAMPLES))


def applies(rule: Rule, path: pathlib.PurePath) -> bool:
    """Prose is held to the rule on words alone."""
    code = path.suffix in CODE or path.name in NAMED_CODE
    return code or rule is no_foreign_words


def sources() -> Iterator[pathlib.PurePath]:
    """The text files of the repository, relative to its root."""
    files = [file for file in ROOT.iterdir() if file.is_file()]
    for folder in FOLDERS:
        files += (ROOT / folder).rglob("*")
    for file in sorted(files):
        path = file.relative_to(ROOT)
        if file.is_symlink() or not file.is_file():
            continue
        text = path.suffix in CODE | PROSE or path.name in NAMED_CODE
        if text and not DATA_FOLDERS.intersection(path.parts):
            yield path


@pytest.mark.parametrize(
    ("rule", "path", "bad", "good"),
    EXAMPLES,
    ids=[f"{e[0].__name__}-{n}" for n, e in enumerate(EXAMPLES)],
)
def test_rule_sees_what_breaks_it(
    rule: Rule, path: str, bad: str, good: str
) -> None:
    assert list(rule(pathlib.PurePath(path), bad))
    assert not list(rule(pathlib.PurePath(path), good))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_tree_keeps_the_rule(rule: Rule) -> None:
    complaints = [
        f"{path}:{complaint}"
        for path in sources()
        if applies(rule, path)
        for complaint in rule(path, (ROOT / path).read_text("utf-8"))
    ]
    assert not complaints, "\n".join(["", *complaints])


def test_the_tree_is_where_the_rules_look() -> None:
    found = {str(path) for path in sources()}
    assert {"meson.build", "src/py/bridge.c", ".ci/run"} <= found
