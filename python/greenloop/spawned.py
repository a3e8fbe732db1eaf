# SPDX-License-Identifier: MIT
"""The futures that greenloop.spawn() returns.

The C part runs the function and settles the future; here is only what makes
cancelling one mean cancelling the function.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from greenloop import _core

__all__ = ["SpawnedFuture"]


class SpawnedFuture(asyncio.Future[Any]):
    """A future whose cancel() throws into the function behind it.

    As with a task, it is done when the function has ended, not before, and
    a function that catches the CancelledError may still return a result.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, job: _core.Job
    ) -> None:
        super().__init__(loop=loop)
        self._job: _core.Job | None = job  # None once the function ended

    def cancel(self, msg: Any = None) -> bool:
        """Asks the function to end; False if it has ended already."""
        if self._job is None:
            return super().cancel(msg)
        return self._job.cancel()
