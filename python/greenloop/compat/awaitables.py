# SPDX-License-Identifier: MIT
"""Makes a coroutine of whatever can be awaited; called by the C part."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Coroutine
from typing import Any

__all__ = ["as_coroutine"]


def as_coroutine(awaitable: Any) -> Coroutine[Any, Any, Any]:
    """Returns a coroutine that gives what `awaitable` gives.

    Coroutines are returned as they are.  Raises TypeError for what cannot
    be awaited.
    """
    if asyncio.iscoroutine(awaitable):
        return awaitable
    if inspect.isawaitable(awaitable):
        return _await(awaitable)
    raise TypeError(
        "greenloop.await_() takes a coroutine, a future or another awaitable, "
        f"not {type(awaitable).__name__}"
    )


async def _await(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
