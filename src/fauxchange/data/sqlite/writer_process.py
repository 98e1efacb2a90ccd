"""A process that writes one file for another process, and ends with it.

    python -m fauxchange.data.sqlite.writer_process KIND SOCKET FILE PROBE_INTERVAL_S

Jobs come over the socket, pickled, each behind its length; answers go back in the same way, as a list of those of some
jobs together with the writer's problem. It ends when the socket does. Signals that end a group of processes are for the
one that it works for.
"""

import select
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fauxchange.data.sqlite.files import Open, open_connection
from fauxchange.data.sqlite.journal_appender import JournalAppender
from fauxchange.data.sqlite.lanes import Frames, Writer, framed
from fauxchange.data.sqlite.transactions import Transactions

WRITERS: dict[str, Callable[[Path, Open], Writer]] = {"journal": JournalAppender, "transactions": Transactions}


def serve(channel: socket.socket, writer: Writer, probe_interval_s: float) -> None:
    """Do the jobs that come over `channel` until it ends."""
    frames = Frames()
    while True:
        if writer.problem is not None and not select.select([channel], [], [], probe_interval_s)[0]:
            writer.probe()
            _tell(channel, [], writer)
            continue
        taken = channel.recv_into(frames.room())
        if not taken:
            # What was not whole was never handed over.
            return
        jobs = frames.take(taken)
        if jobs:
            _tell(channel, writer.handle(jobs), writer)


def _tell(channel: socket.socket, answers: list[Any], writer: Writer) -> None:
    channel.sendall(b"".join(framed((answers, writer.problem))))


def main() -> None:
    """Write until the socket ends."""
    kind, descriptor, path, probe_interval_s = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    writer = WRITERS[kind](Path(path), open_connection)
    with socket.socket(fileno=int(descriptor)) as channel:
        try:
            serve(channel, writer, float(probe_interval_s))
        except (BrokenPipeError, ConnectionResetError):
            # Whom it worked for is gone; what it was doing is done.
            pass
        finally:
            writer.close()


if __name__ == "__main__":
    main()
