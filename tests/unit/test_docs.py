# SPDX-License-Identifier: MIT
"""The documentation is true: code runs, commands exist, names are there.

Python blocks that define an application are served by the installed program
and asked once, all at the same time; other blocks are programs, and are run.
"""

import concurrent.futures
import itertools
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest
from greenloop import option_table, options

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "e2e"))

from harness import alias, environment, server  # noqa: E402

README = ROOT / "README.md"
ARCHITECTURE = ROOT / "ARCHITECTURE.md"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SOURCES = ("src", "python")
CODE = (*SOURCES, "tests", "tools", "fuzz", "bench", "examples")
# Named in the documents, and no options of ours.
FOREIGN_OPTIONS = {"deploy-hook", "install", "name", "param"}
FOREIGN_FILES = {"Python.h"}
PROGRAMS = {"greenloop", "uwsgi"}
SECONDS = 40


def name_of(page: pathlib.Path) -> str:
    return str(page.relative_to(ROOT))


def text_of(page: pathlib.Path) -> str:
    return page.read_text("utf-8")


def blocks(page: pathlib.Path, language: str) -> list[str]:
    """The fenced code blocks of a language."""
    return re.findall(
        rf"^```{language}\n(.*?)^```$", text_of(page), re.M | re.DOTALL
    )


def prose(page: pathlib.Path) -> str:
    """The page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", text_of(page), flags=re.M | re.DOTALL)


def commands(page: pathlib.Path) -> Iterator[list[str]]:
    """The words of each command in the page's shell blocks."""
    indented = re.findall(r"^    (?:make|greenloop) .*", prose(page), re.M)
    quoted = re.findall(r"`((?:make|greenloop|uwsgi) [^`]+)`", prose(page))
    lines = [*indented, *quoted]
    for block in blocks(page, "sh"):
        lines += block.splitlines()
    for line in lines:
        yield shlex.split(line, comments=True)


def python_blocks() -> dict[str, str]:
    return {
        f"{name_of(page)}-{number}": block
        for page in PAGES
        for number, block in enumerate(blocks(page, "python"))
    }


BLOCKS = python_blocks()


def serve(block: str) -> None:
    """Runs a block as an application and asks it once."""
    name = "app" if "\napp = " in block else "application"
    with server(block, "--callable", name, "--disable-logging") as s:
        answer = s.get(timeout=SECONDS)
        assert answer.status == 200, s.log
        # What the block says that it sends.
        for text in re.findall(r'return (?:f|\[b)?"(.*?)(?:\\n)?"', block):
            for word in re.sub(r"\{.*?\}", " ", text).split():
                assert word in answer.text


def run_program(block: str) -> None:
    """Runs a block as a program that prints a URL; asks it; stops it."""
    program = re.sub(r'"127\.0\.0\.1:\d+"', '"127.0.0.1:0"', block)
    assert program != block
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env=environment(None),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:
            assert answer.read() == b"hello\n"
        interrupt(process)
    finally:
        process.kill()
        process.wait()


def interrupt(process: "subprocess.Popen[str]") -> None:
    """Ends a program by SIGINT, as somebody at a terminal would.

    asyncio.run() has no wakeup descriptor: a signal that comes right before
    the loop waits is heard when the next event comes, here a second one.
    """
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=SECONDS / 4)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SECONDS / 4)


def check_block(block: str) -> None:
    if "asyncio.run(main())" in block:
        run_program(block)
    else:
        serve(block)


@pytest.fixture(scope="module")
def outcomes() -> Iterator[dict[str, "concurrent.futures.Future[None]"]]:
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        yield {name: pool.submit(check_block, b) for name, b in BLOCKS.items()}


@pytest.mark.parametrize("name", BLOCKS)
def test_code_runs(
    outcomes: dict[str, "concurrent.futures.Future[None]"], name: str
) -> None:
    outcomes[name].result(SECONDS)


def test_the_first_example_is_there() -> None:
    assert f"{name_of(README)}-0" in BLOCKS
    assert "greenloop.await_(" in BLOCKS[f"{name_of(README)}-0"]


def test_the_commands_of_the_readme_serve_its_example(
    tmp_path: pathlib.Path,
) -> None:
    """The word for the file is left out: server() adds its own."""
    tried = set()
    for program, *words in commands(README):
        if program not in PROGRAMS or "app.py" not in words:
            continue
        del words[words.index("--wsgi-file") : words.index("app.py") + 1]
        words[words.index(":9090")] = "127.0.0.1:0"
        with server(
            BLOCKS[f"{name_of(README)}-0"],
            *words,
            http=None,
            program=alias(tmp_path, program),
        ) as s:
            assert "both within a second" in s.get().text
        tried.add(program)
    assert tried == PROGRAMS


def test_programs_are_called_with_options_that_they_have() -> None:
    count = 0
    for page in PAGES:
        for words in commands(page):
            if not words or words[0] not in PROGRAMS or "..." in words:
                continue
            found = options.scan(words[1:])
            if {option.name for option, _value in found} != {"help"}:
                options.parse(found)
            count += 1
    assert count >= 5


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([\w-]+):", makefile, re.M))
    variables = set(re.findall(r"^(\w+) \??=", makefile, re.M))
    asked = []
    for page in PAGES:
        for words in commands(page):
            if "make" not in words:
                continue
            for word in words[words.index("make") + 1 :]:
                known = variables if "=" in word else targets
                assert word.partition("=")[0] in known, (page, words)
                asked.append(word)
    assert {"run", "test", "asyncio", "bench"} <= set(asked)


def test_options_exist() -> None:
    known = {name for row in option_table.OPTIONS for name in row.names}
    known |= {name for row in option_table.REFUSALS for name in row.names}
    known |= FOREIGN_OPTIONS
    for page in PAGES:
        named = re.findall(r"(?<![\w-])--([a-z][a-z0-9-]+)", text_of(page))
        assert set(named) <= known, name_of(page)


def anchors(page: pathlib.Path) -> set[str]:
    """The anchors of a page's headings, as a forge makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.M)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in headings
    }


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_resolve(page: pathlib.Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        path, _, anchor = target.partition("#")
        assert not re.match(r"\w+:", target), "links stay in the repository"
        linked = (page.parent / path) if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def tree() -> set[str]:
    """The files and folders of the repository that are ours."""
    found = {name.name for name in ROOT.iterdir()}
    for folder in (*CODE, "docs"):
        found.add(folder)
        for path in (ROOT / folder).rglob("*"):
            found.add(str(path.relative_to(ROOT)))
    return found


def named_files(page: pathlib.Path) -> set[str]:
    """What looks like a file or folder among the quoted words."""
    quoted = itertools.chain.from_iterable(
        words.split(", ") for words in re.findall(r"`([^`\n]+)`", prose(page))
    )
    pattern = r"[\w./-]+\.(?:c|h|py|pyi|md|sh)|[\w.-]+(?:/[\w.-]+)*/"
    named = {word for word in quoted if re.fullmatch(pattern, word)}
    return named - FOREIGN_FILES


@pytest.mark.parametrize(
    "page",
    [ARCHITECTURE, *sorted((ROOT / "docs" / "internals").glob("*.md"))],
    ids=name_of,
)
def test_named_files_and_functions_exist(page: pathlib.Path) -> None:
    files = tree()
    for name in named_files(page):
        ends = name.rstrip("/")
        assert any(
            file == ends or file.endswith(f"/{ends}") for file in files
        ), name
    sources = "".join(
        path.read_text("utf-8")
        for folder in SOURCES
        for path in (ROOT / folder).rglob("*.*")
        if path.suffix in (".c", ".h", ".py")
    )
    for name in set(re.findall(r"\b(gl_\w+)", text_of(page))):
        assert re.search(rf"\b{name}\b", sources), name
    for name in set(re.findall(r"`(\w+)\(\w*\)`", prose(page))):
        assert re.search(rf"\b{name}\b", sources), name


def test_architecture_names_every_source() -> None:
    named = named_files(ARCHITECTURE)
    for folder in (ROOT / "src").iterdir():
        if folder.is_dir() and any(folder.iterdir()):
            assert f"src/{folder.name}/" in named
    for path in (ROOT / "src").rglob("*.c"):
        assert path.name in named, path
    package = ROOT / "python" / "greenloop"
    for path in package.rglob("*.py"):
        name = path.relative_to(package)
        if name != pathlib.Path("compat/__init__.py"):
            assert str(name) in named, path


def test_states_are_drawn() -> None:
    header = (ROOT / "src" / "engine" / "conn.h").read_text("utf-8")
    page = text_of(ROOT / "docs" / "internals" / "conn.md")
    drawing = page.split("```")[1]
    states = re.findall(r"^    GL_CONN_(\w+)", header, re.M)
    assert len(states) >= 8
    for state in states:
        assert state in drawing, state
        assert f"\n| {state} |" in page, state


def test_uwsgi_link_as_the_readme_makes_it(tmp_path: pathlib.Path) -> None:
    links = [words for words in commands(README) if words[:1] == ["ln"]]
    assert len(links) == 1
    (tmp_path / "bin").mkdir()
    folder = pathlib.Path(sys.prefix) / "bin"
    env = {**os.environ, "HOME": str(tmp_path)}
    env["PATH"] = f"{folder}:{env['PATH']}"
    line = next(
        line
        for block in blocks(README, "sh")
        for line in block.splitlines()
        if line.startswith("ln ")
    )
    subprocess.run(["sh", "-c", line], env=env, check=True, timeout=SECONDS)
    done = subprocess.run(
        [tmp_path / "bin" / "uwsgi", "--version"],
        env=env,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.stdout.startswith("Greenloop "), done.stderr
