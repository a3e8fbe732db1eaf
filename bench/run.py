#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares Greenloop with its peers and with floors in C; see README.md.

One worker is pinned to one CPU, the load to another; the rounds go from load
to load and from server to server, so that a slow minute of the machine hits
all of them.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import measure
import plot
import report
import ws_measure
from servers import (
    BENCH,
    Environment,
    Missing,
    Running,
    Server,
    raise_descriptor_limit,
    started,
)
from servers import (
    SERVERS as HTTP_SERVERS,
)
from ws_servers import WS_SERVERS

SERVERS = (*HTTP_SERVERS, *WS_SERVERS)
RESULTS = BENCH / "results"
HELD = 5000
DESCRIPTORS = HELD + 500


@dataclass(frozen=True)
class Load:
    """Something that wrk or ws_load asks for over and over."""

    name: str
    title: str
    kind: str
    connections: int
    protocol: str = "http"


@dataclass(frozen=True)
class Memory:
    """Something that is held many times while memory is read."""

    name: str
    title: str
    kind: str
    app: str
    each_kib: Callable[[Running, int], float]
    protocol = "http"


LOADS = (
    Load("hello64", "hello, 64 connections", "hello", 64),
    Load("hello1", "hello, 1 connection", "hello", 1),
    Load("hello1000", "hello, 1,000 connections", "hello", 1000),
    Load("sleep1000", "10 ms wait, 1,000 connections", "sleep", 1000),
    Load("ws-echo64", "echo, 64 WebSockets", "echo", 64, "websocket"),
    Load("ws-echo1", "echo, 1 WebSocket", "echo", 1, "websocket"),
    Load(
        *("ws-broadcast", "one message to 1,000 WebSockets", "broadcast"),
        *(1000, "websocket"),
    ),
)
MEMORIES = (
    Memory(
        "parked", "5,000 parked requests", "hold", "hold", measure.held_kib
    ),
    Memory(
        "idle",
        "5,000 idle keep-alive connections",
        "idle",
        "hello",
        measure.idle_kib,
    ),
)
TITLES = {each.name: each.title for each in (*LOADS, *MEMORIES)}


def say(line: str) -> None:
    print(line, flush=True)


def find_clients(env: Environment, protocols: set[str]) -> Path | None:
    """Makes sure that there is a load; returns ws_load if it is needed."""
    if "http" in protocols and shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed: `apt-get install wrk`")
    if "websocket" not in protocols:
        return None
    try:
        return ws_measure.build(env)
    except Missing as missing:
        raise SystemExit(str(missing)) from None


class Bench:
    """One whole run: what to measure, on which servers, and the results."""

    def __init__(
        self, args: argparse.Namespace, env: Environment, client_cpu: int
    ) -> None:
        self.env = env
        self.rounds: int = args.rounds
        self.seconds: int = args.seconds
        self.only: list[str] = args.only
        self.cpus = (env.server_cpu, client_cpu)
        self.protocols = {
            work.protocol
            for work in (*LOADS, *MEMORIES)
            if work.name in self.only
        }
        self.ws_load = find_clients(env, self.protocols)
        self.servers: list[Server] = []
        self.results = report.Results()

    def find(self, wanted: Sequence[Server]) -> None:
        """Sorts the servers into those that are here and the missing."""
        for server in wanted:
            if server.protocol not in self.protocols:
                continue
            try:
                server.find(self.env)
            except Missing as missing:
                self.results.missing[server.name] = str(missing)
                say(f"missing: {server.name}: {missing}")
            else:
                self.servers.append(server)
                if server.notes:
                    say(f"note: {server.name}: {server.notes}")

    def able(self, workload: Load | Memory) -> list[Server]:
        """The servers that can do this work; notes why the others cannot."""
        absent = self.results.absent.setdefault(workload.name, {})
        able = []
        for server in self.servers:
            if workload.protocol != server.protocol:
                continue
            if workload.kind in server.without:
                absent[server.name] = server.without[workload.kind]
            else:
                able.append(server)
        return able

    def fail(self, workload: str, server: Server, error: Exception) -> None:
        """A server that fails at a workload is shown, and left out of it."""
        self.results.absent[workload][server.name] = "failed"
        say(f"  {server.name}: FAILED: {error}")

    def take(self, load: Load, running: Running) -> measure.Sample:
        if load.protocol == "http":
            return measure.load(
                running, load.connections, self.seconds, self.cpus
            )
        assert self.ws_load is not None  # find_clients() saw the protocol
        return ws_measure.load(
            running,
            self.ws_load,
            load.kind,
            load.connections,
            self.seconds,
            self.cpus,
        )

    def sample(self, load: Load, server: Server) -> None:
        """Takes one sample with a fresh process."""
        cores = load.connections + 64
        with started(server, self.env, load.kind, cores) as running:
            sample = self.take(load, running)
        found = self.results.load[load.name].setdefault(server.name, [])
        found.append(sample)
        say(
            f"  {server.name}: {sample.per_second:,.0f} per s, "
            f"{sample.cpu_us:.1f} us CPU, p99 {sample.p99_ms:.2f} ms, "
            f"others used {sample.foreign:.0%}"
        )

    def round(self, load: Load, servers: Sequence[Server]) -> None:
        """One sample of each server that has not failed at this load."""
        for server in servers:
            if server.name in self.results.absent[load.name]:
                continue
            try:
                self.sample(load, server)
            except (OSError, RuntimeError, subprocess.SubprocessError) as err:
                self.fail(load.name, server, err)

    def again(self, load: Load, servers: Sequence[Server]) -> None:
        """One more sample of those that were disturbed."""
        noisy = [
            server
            for server in servers
            if self.results.is_noisy(load.name, server.name)
        ]
        if noisy:
            say(f"{load.title}: once more for those that were disturbed")
            self.round(load, noisy)

    def run_loads(self, loads: Sequence[Load]) -> None:
        """All rounds.  Each of them has every load, since gates compare
        loads with each other as they do servers."""
        able = [(load, self.able(load)) for load in loads]
        for load in loads:
            self.results.load[load.name] = {}
        for number in range(self.rounds):
            for load, servers in able:
                say(f"{load.title}: round {number + 1} of {self.rounds}")
                self.round(load, servers)
        for load, servers in able:
            self.again(load, servers)

    def run_memory(self, memory: Memory) -> None:
        """One measure of each server: memory does not depend on noise."""
        say(f"{memory.title}:")
        self.results.memory[memory.name] = {}
        for server in self.able(memory):
            try:
                with started(
                    server, self.env, memory.app, HELD + 64
                ) as running:
                    kib = memory.each_kib(running, HELD)
            except (OSError, RuntimeError) as err:
                self.fail(memory.name, server, err)
            else:
                self.results.memory[memory.name][server.name] = kib
                say(f"  {server.name}: {kib:.2f} KiB each")

    def run(self) -> None:
        self.run_loads([load for load in LOADS if load.name in self.only])
        for memory in MEMORIES:
            if memory.name in self.only:
                self.run_memory(memory)


def versions(python: Path) -> dict[str, str]:
    """What runs in the compared environment."""
    names = ["greenloop", "greenlet", "uvloop", "bjoern", "uWSGI"]
    names += ["uvicorn", "websockets", "wsproto", "granian"]
    script = (
        "import importlib.metadata as m, json, platform, sys\n"
        "found = {'python': platform.python_version()}\n"
        "for name in sys.argv[1:]:\n"
        "    try: found[name] = m.version(name)\n"
        "    except m.PackageNotFoundError: pass\n"
        "print(json.dumps(found))\n"
    )
    shown = subprocess.run(
        [python, "-c", script, *names],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, str] = json.loads(shown.stdout)
    return found


def machine() -> dict[str, str]:
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    return {"cpu": model, "kernel": platform.release()}


def requirement_lines() -> list[str]:
    lines = (BENCH / "requirements.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def set_up() -> None:
    """Installs what is missing of requirements.txt, each line alone, so that
    one which does not build leaves the others there.

    uWSGI has its asyncio engine in a build profile of that name alone, which
    needs greenlet's header: it is built last, and against this environment.
    """
    if sys.prefix == sys.base_prefix:
        raise SystemExit("--setup installs into virtual environments only")
    for line in requirement_lines():
        command = [sys.executable, "-m", "pip", "install", "-q", line]
        environ = dict(os.environ)
        if line.lower().startswith("uwsgi") and not has_uwsgi_engine():
            command += ["--no-binary", "uwsgi", "--no-cache-dir"]
            command += ["--force-reinstall", "--no-deps"]
            environ["UWSGI_PROFILE"] = "asyncio"
            environ["CFLAGS"] = " ".join(f"-I{p}" for p in header_folders())
        say(f"installing {line}")
        if subprocess.run(command, env=environ, check=False).returncode != 0:
            say(f"{line} could not be installed; it will be left out")


def has_uwsgi_engine() -> bool:
    """Whether a uWSGI with its asyncio engine is in this environment."""
    server = next(each for each in SERVERS if each.name == "uwsgi-asyncio")
    here = Environment(Path(sys.executable), Path.cwd(), 0)
    try:
        server.find(here)
    except Missing:
        return False
    return True


def header_folders() -> list[str]:
    """Where greenlet/greenlet.h may be: pip's folder, and the package's."""
    version = f"python{sysconfig.get_python_version()}"
    folders = [Path(sys.prefix, "include", "site", version)]
    for file in importlib.metadata.files("greenlet") or ():
        if file.name == "greenlet.h":
            folders.append(Path(str(file.locate())).parent.parent)
    return [str(folder) for folder in folders]


def names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def wanted_servers(prefixes: Sequence[str]) -> list[Server]:
    """The servers whose names begin with one of these."""
    for prefix in prefixes:
        if not any(each.name.startswith(prefix) for each in SERVERS):
            known = ", ".join(each.name for each in SERVERS)
            raise SystemExit(f"unknown server {prefix}: one of {known}")
    return [each for each in SERVERS if each.name.startswith(tuple(prefixes))]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        epilog="workloads: " + ", ".join(TITLES),
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--seconds", type=int, default=4, help="of load in a measure (4)"
    )
    parser.add_argument(
        "--only",
        type=names,
        default=list(TITLES),
        metavar="WORKLOAD,...",
        help="measure these workloads alone",
    )
    parser.add_argument(
        "--servers",
        type=names,
        default=[each.name for each in SERVERS],
        metavar="NAME,...",
        help="these servers alone; the beginning of a name will do",
    )
    parser.add_argument(
        "--python",
        type=Path,
        default=Path(sys.executable),
        help="of the environment that has the servers (this one)",
    )
    parser.add_argument(
        "--json",
        type=Path,
        default=RESULTS / "results.json",
        help="where to write the results; the chart goes beside it",
    )
    parser.add_argument(
        "--setup",
        action="store_true",
        help="only install the missing peers into this environment",
    )
    args = parser.parse_args()
    unknown = sorted(set(args.only) - set(TITLES))
    if unknown:
        parser.error(f"unknown workload {unknown[0]}: one of {list(TITLES)}")
    if args.rounds < 1 or args.seconds < 1:
        parser.error("--rounds and --seconds are at least 1")
    return args


def choose_cpus() -> tuple[int, int]:
    """The server's CPU and the client's."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        raise SystemExit("two CPUs are needed: one serves, one asks")
    return cpus[0], cpus[1]


def write(bench: Bench, path: Path, python: Path) -> None:
    """The results as JSON, and beside them as a chart."""
    found = {
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "machine": machine(),
        "versions": versions(python),
        "rounds": bench.rounds,
        "seconds": bench.seconds,
        **report.as_json(bench.results),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=2) + "\n")
    chart = path.with_suffix(".svg")
    chart.write_text(plot.svg(bench.results, TITLES))
    say(f"\nwritten: {path}\nwritten: {chart}")
    if RESULTS in path.resolve().parents:
        say("(git ignores that folder: copy what is worth keeping)")


def end_on_sigterm(number: int, frame: object) -> None:
    raise SystemExit(128 + number)  # unwinds, which stops the servers


def main() -> None:
    args = parse()
    signal.signal(signal.SIGTERM, end_on_sigterm)
    if args.setup:
        set_up()
        return
    server_cpu, client_cpu = choose_cpus()
    raise_descriptor_limit(DESCRIPTORS)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="greenloop-bench-") as work:
        python = args.python.absolute()
        env = Environment(python, Path(work), server_cpu)
        bench = Bench(args, env, client_cpu)
        bench.find(wanted_servers(args.servers))
        os.sched_setaffinity(0, {client_cpu})
        bench.run()
    say("\n" + report.text(bench.results, TITLES))
    write(bench, args.json, python)
    say(f"took {(time.monotonic() - start) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
