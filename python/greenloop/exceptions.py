# SPDX-License-Identifier: MIT
"""The exceptions of WebSockets.

The C part raises them; they are classes of Python because an exception with
two bases is simplest to define here.
"""

from __future__ import annotations

__all__ = ["WebSocketClosed", "WebSocketError"]


class WebSocketError(Exception):
    """A WebSocket could not be opened, or cannot be used this way.

    status  of the answer that the client gets if the application lets the
            exception through before the handshake (an int)
    """

    def __init__(self, text: str, status: int = 500) -> None:
        super().__init__(text)
        self.status = status


class WebSocketClosed(WebSocketError, ConnectionError):
    """The WebSocket has ended; nothing can be received or sent any more.

    code    of the close frame (RFC 6455, 7.4; an int); 1005 if it had none,
            1006 if the connection was lost
    reason  of the close frame (a str), often empty
    """

    def __init__(self, code: int, reason: str = "") -> None:
        text = f"the WebSocket was closed with code {code}"
        super().__init__(f"{text}: {reason}" if reason else text)
        self.code = code
        self.reason = reason

    def __reduce__(self) -> tuple[type, tuple[int, str]]:
        return type(self), (self.code, self.reason)
