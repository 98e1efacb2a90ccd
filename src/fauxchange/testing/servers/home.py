"""Where this process's test servers live: a folder under a keeper's eye, an account without privileges, free ports."""

import atexit
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

from fauxchange.testing.servers import keeper
from fauxchange.testing.servers.errors import ServerFailed

PREFIX = "fauxchange-servers-"
MAX_FOLDER_CHARS = 60
"""What leaves room for a server's folder and its Unix socket in the 107 characters that an address may have."""
MEMORY = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a private folder in it
"""Where Linux keeps files in memory."""
MEMORY_NEEDED_BYTES = 2 * 1024**3
"""Enough for a few servers with their logs; a container is often given 64 MB."""
FIRST_PORT, LAST_PORT = 21_000, 31_999
"""Below the ports that the system gives to outgoing connections: a client that dials a stopped server again and again
may otherwise be given the server's own port and connect to itself."""
STRIDE = 131
"""How far apart neighbouring process ids begin to look for a port; it shares no factor with the number of ports."""
KEEPER_TIMEOUT_S = 20.0
WITHOUT_PRIVILEGES = "nobody"
NOBODY_ID = 65_534


@dataclass(frozen=True, slots=True)
class Account:
    """Whom servers run as instead of root, which PostgreSQL refuses to run as."""

    uid: int
    gid: int


@cache
def account() -> Account | None:
    """Return the account that servers run as, or None where it is the caller's own."""
    if os.geteuid() != 0:
        return None
    try:
        found = pwd.getpwnam(WITHOUT_PRIVILEGES)
    except KeyError:
        return Account(NOBODY_ID, NOBODY_ID)
    return Account(found.pw_uid, found.pw_gid)


class Home:
    """One folder for all servers of this process, and one in memory where there is room; cleared however it ends."""

    def __init__(self) -> None:
        self.folder = _made(_place())
        self._in_memory = _made(MEMORY) if _has_room(MEMORY) else None
        self._folders = [folder for folder in (self.folder, self._in_memory) if folder is not None]
        self._owner = os.getpid()
        self._numbers = count(1)
        try:
            self._keeper = self._kept()
        except OSError as exc:
            for folder in self._folders:
                folder.rmdir()
            raise ServerFailed(f"no keeper for the test servers: {exc}") from exc
        atexit.register(self.close)

    def enter(self, name: str, *, in_memory: bool = False) -> Path:
        """Return a new folder for a server; whoever works in it lives no longer than the folder.

        One that is wanted in memory is on the disk after all where there is too little memory for files.
        """
        folder = (
            self._in_memory if in_memory and self._in_memory is not None else self.folder
        ) / f"{name}-{next(self._numbers)}"
        folder.mkdir(mode=0o700)
        hand_over(folder)
        return folder

    def leave(self, folder: Path) -> None:
        """Remove the folder of a server, and what is left of the server."""
        keeper.clear(folder)

    def close(self) -> None:
        """End what is still there and remove the folder; safe to call twice."""
        if os.getpid() != self._owner:
            # A fork that ends is not the end of the servers.
            return
        for folder in self._folders:
            keeper.clear(folder)
        if self._keeper.stdin is not None and not self._keeper.stdin.closed:
            self._keeper.stdin.close()
        self._keeper.wait(KEEPER_TIMEOUT_S)

    def _kept(self) -> "subprocess.Popen[bytes]":
        # In a session of its own, so that neither Ctrl-C nor the end of a process group takes the keeper along.
        return subprocess.Popen(  # noqa: S603 - our own script, no shell
            [sys.executable, "-I", "-S", keeper.__file__, *map(str, self._folders)],
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


_opening = threading.Lock()
_steps = count()
"""Goes on from port to port: a client of a server that is gone does not find another one in its place."""
_homes: dict[int, Home] = {}


def home() -> Home:
    """Return this process's home of servers; it is made when the first one asks."""
    with _opening:
        if os.getpid() not in _homes:
            _homes[os.getpid()] = Home()
        return _homes[os.getpid()]


def hand_over(path: Path) -> None:
    """Give a file or folder to the account that servers run as."""
    owner = account()
    if owner is not None:
        os.chown(path, owner.uid, owner.gid)


def _made(place: Path) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    if account() is not None:
        folder.chmod(0o755)
    return folder


def _has_room(place: Path) -> bool:
    return place.is_dir() and _is_open_to_servers(place) and shutil.disk_usage(place).free >= MEMORY_NEEDED_BYTES


def _place() -> Path:
    """Return the first folder for temporary files that a server may enter and whose name is short enough."""
    places = [tempfile.gettempdir(), "/tmp", "/var/tmp"]  # noqa: S108 - mkdtemp makes a private folder in it
    for place in places:
        path = Path(place).resolve()
        if len(str(path)) <= MAX_FOLDER_CHARS and path.is_dir() and _is_open_to_servers(path):
            return path
    raise ServerFailed(
        f"no folder for test servers: none of {', '.join(places)} is short and open to the account "
        f"{WITHOUT_PRIVILEGES!r}; set TMPDIR to one that is"
    )


def _is_open_to_servers(folder: Path) -> bool:
    open_to_all = account() is None or all(part.stat().st_mode & 0o001 for part in (folder, *folder.parents))
    return open_to_all and os.access(folder, os.W_OK | os.X_OK)


class Port:
    """A loopback port that no other launcher on this machine takes, also while its server is down."""

    def __init__(self, number: int, reservation: socket.socket) -> None:
        self.number = number
        self._reservation = reservation

    def release(self) -> None:
        """Let others have the port."""
        self._reservation.close()


def reserve_port() -> Port:
    """Return a port on which nothing listens. Raises: ServerFailed if all are taken."""
    for number in _candidates():
        reservation = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # An abstract name: it belongs to the same network namespace as the port and goes with the process.
            reservation.bind(f"\0fauxchange-test-port-{number}")
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", number))
        except OSError:
            reservation.close()
            continue
        return Port(number, reservation)
    raise ServerFailed(f"every port from {FIRST_PORT} to {LAST_PORT} is taken")


def _candidates() -> Iterator[int]:
    ports = LAST_PORT - FIRST_PORT + 1
    start = os.getpid() * STRIDE
    return (FIRST_PORT + (start + next(_steps)) % ports for _ in range(ports))
