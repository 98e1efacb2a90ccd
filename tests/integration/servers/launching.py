"""Start both servers as a run that is about to end does, tell where they are, and wait for that end.

`within` is a block that may be left in order; `abandoned` never leaves it; `frozen` has frozen them besides.
"""

import json
import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from fauxchange.testing.servers import PostgresServer, RedisServer, start_postgres, start_redis
from fauxchange.testing.servers.process import descendants


def main(manner: str, ending: str) -> None:
    blocks: list[AbstractContextManager[PostgresServer | RedisServer]] = [
        start_postgres(in_memory=True),
        start_postgres(),
        start_redis(),
    ]
    servers = [block.__enter__() for block in blocks]
    try:
        segments = [
            int((server.process.folder / "data/postmaster.pid").read_text().splitlines()[6].split()[1])
            for server in servers[:2]
        ]
        told = {
            "pids": [pid for server in servers for pid in (server.process.pid, *descendants(server.process.pid))],
            "folders": [str(server.process.folder.parent) for server in servers],
            "segments": segments,
            "users": [Path(f"/proc/{server.process.pid}").stat().st_uid for server in servers],
        }
        if manner == "frozen":
            for server in servers:
                server.freeze()
        sys.stdout.write(f"{json.dumps(told)}\n")
        sys.stdout.flush()
        sys.stdin.read()
        if ending == "hard":
            os._exit(3)
    finally:
        if manner == "within":
            for block in reversed(blocks):
                block.__exit__(None, None, None)


if __name__ == "__main__":
    main(*sys.argv[1:])
