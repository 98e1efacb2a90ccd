"""A conversation in Redis's protocol, as short as administration needs it.

Drivers belong to the data adapter, and their pools and retries would only be in the way here.

Source: Redis serialization protocol specification, version 2
"""

import socket
from types import TracebackType
from typing import Self

from fauxchange.testing.servers.errors import ServerFailed

TIMEOUT_S = 30.0

Reply = str | int | list["Reply"] | None


class Conversation:
    """One connection; each command waits for its reply."""

    def __init__(self, host: str, port: int, timeout_s: float = TIMEOUT_S) -> None:
        self._socket = socket.create_connection((host, port), timeout_s)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._socket.close()

    def command(self, *words: str) -> Reply:
        """Send a command and return the reply.

        Raises: ServerFailed with the server's words, OSError
        """
        parts = [word.encode() for word in words]
        lines = [b"*%d\r\n" % len(parts), *(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)]
        self._socket.sendall(b"".join(lines))
        return self._reply()

    def _reply(self) -> Reply:
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ServerFailed("the server closed the connection")
        kind, text = line[:1], line[1:-2].decode()
        if kind == b"+":
            return text
        if kind == b"-":
            raise ServerFailed(text)
        if kind == b":":
            return int(text)
        if int(text) < 0:
            return None
        if kind == b"$":
            return self._file.read(int(text) + 2)[:-2].decode(errors="replace")
        return [self._reply() for _ in range(int(text))]
