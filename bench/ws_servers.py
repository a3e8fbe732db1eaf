# SPDX-License-Identifier: MIT
"""The servers of the WebSocket workloads: how each is found and started.

The peers run on uvloop, on which all of them are faster, and without
permessage-deflate, which the client does not offer either.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from servers import APPS, BACKLOG, ROOT, Environment, Greenloop, Missing
from servers import Server as AnyServer

__all__ = ["PEERS", "WS_OURS", "WS_SERVERS"]

BUILT_WS_SERVER = ROOT / "build" / "c-release" / "src/engine/ws_echo_server"
WAYS = {
    "native": "greenloop.websocket(), a greenlet for each socket",
    "uwsgi": "the uwsgi module's functions",
    "handover": "handed over to coroutines",
}


class Server(AnyServer):
    protocol = "websocket"


class GreenloopWs(Greenloop):
    """Greenloop in one of its three ways to use a WebSocket."""

    protocol = "websocket"

    def __init__(self, way: str, loop: str) -> None:
        super().__init__(loop)
        self.name = f"greenloop-{way}-{loop}"
        self.title = f"Greenloop, {WAYS[way]}, {loop} loop"
        self.apps = dict.fromkeys(("echo", "broadcast"), f"ws_{way}.py")


class Uvicorn(Server):
    """uvicorn with one of its WebSocket implementations."""

    def __init__(self, implementation: str) -> None:
        self.implementation = implementation
        self.name = f"uvicorn-{implementation}"
        self.title = f"uvicorn, {implementation}, uvloop"

    def find(self, env: Environment) -> None:
        package = self.implementation.partition("-")[0]
        for module in ("uvicorn", "uvloop", package):
            env.require(module, f"{module} is not installed: use --setup")

    def command(
        self, env: Environment, kind: str, port: int, cores: int
    ) -> Sequence[str | Path]:
        return [
            *(env.python, "-m", "uvicorn", "ws_asgi:application"),
            *("--app-dir", APPS, "--port", str(port)),
            *("--loop", "uvloop", "--ws", self.implementation),
            *("--ws-per-message-deflate", "false"),
            *("--lifespan", "off", "--backlog", str(BACKLOG)),
            *("--no-access-log", "--log-level", "warning"),
        ]


class Granian(Server):
    """granian: HTTP and WebSocket in Rust, the application in ASGI."""

    name = "granian"
    title = "granian (ASGI), uvloop"

    def find(self, env: Environment) -> None:
        for module in ("granian", "uvloop"):
            env.require(module, f"{module} is not installed: use --setup")

    def command(
        self, env: Environment, kind: str, port: int, cores: int
    ) -> Sequence[str | Path]:
        return [
            *(env.python, "-m", "granian", "ws_asgi:application"),
            *("--working-dir", APPS, "--interface", "asginl"),
            *("--host", "127.0.0.1", "--port", str(port)),
            *("--loop", "uvloop", "--workers", "1"),
            *("--backlog", str(BACKLOG), "--no-log"),
        ]


class CEchoServer(Server):
    """The C-only echo server on Greenloop's engine: what Python adds."""

    name = "ws-floor"
    title = "C-only echo server on the engine"
    without = {"broadcast": "no application"}

    def __init__(self) -> None:
        self.program: Path | None = None

    def find(self, env: Environment) -> None:
        path = Path(os.environ.get("GREENLOOP_WS_SERVER", BUILT_WS_SERVER))
        if not os.access(path, os.X_OK):
            raise Missing(
                f"the C-only echo server is not at {path}: `make c-release`, "
                "or name it in GREENLOOP_WS_SERVER"
            )
        self.program = path.absolute()

    def command(
        self, env: Environment, kind: str, port: int, cores: int
    ) -> Sequence[str | Path]:
        assert self.program is not None  # find() came first
        return [self.program, str(port)]


OURS = tuple(
    GreenloopWs(way, loop) for way in WAYS for loop in ("asyncio", "uvloop")
)
# `--ws websockets` means the sansio one in uvicorn's next releases; today it
# is the older and slower of the two: both are measured.
OTHERS = (
    Uvicorn("websockets"),
    Uvicorn("websockets-sansio"),
    Uvicorn("wsproto"),
    Granian(),
)
WS_OURS = tuple(server.name for server in OURS)
PEERS = tuple(server.name for server in OTHERS)
WS_SERVERS: tuple[AnyServer, ...] = (*OURS, *OTHERS, CEchoServer())
