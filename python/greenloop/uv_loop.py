# SPDX-License-Identifier: MIT
"""The server's own uvloop: an engine can wait in place of its libuv.

Imported only where uvloop is wanted; raises ImportError where it isn't
installed.
"""

from __future__ import annotations

import uvloop
import uvloop.loop

from greenloop import _core

__all__ = ["EngineLoop"]


class EngineLoop(uvloop.Loop):
    """A uvloop that runs an engine in each of its passes."""

    _engine: _core.Engine | None = None

    def attach_engine(self, engine: _core.Engine) -> bool:
        """Has `engine` wait for this loop's events as well, if it can.

        It is one engine at most, and uvloop must show its libuv.
        """
        pointer_to = getattr(uvloop.loop, "libuv_get_loop_t_ptr", None)
        path = uvloop.loop.__file__
        if self._engine is not None or pointer_to is None or path is None:
            return False
        if not engine.mount_uv(pointer_to(self), path):
            return False
        self._engine = engine
        return True

    def detach_engine(self, engine: _core.Engine) -> bool:
        """Makes it an ordinary loop again, if `engine` was attached."""
        if self._engine is not engine:
            return False
        self._engine = None
        engine.unmount_uv()
        return True

    def close(self) -> None:
        """As ever; the engine's handles must not outlive the loop."""
        if self._engine is not None and not self.is_running():
            self.detach_engine(self._engine)
        super().close()
