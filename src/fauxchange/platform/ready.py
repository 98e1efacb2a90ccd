"""`ready.json`: where a running process can be reached, for scripts, tests and the dashboard on the same machine.

It is written when the process is ready and removed when it stops; it holds secrets, so only its user can read it.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fauxchange.domain.errors import ConfigurationError, NotFound
from fauxchange.platform.keys import write_private

READY_FILE = "ready.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The addresses of a running process; `secrets` are further members such as `audit_key`, never to be logged."""

    http: str
    grpc: str
    audit: str | None
    pid: int = field(default_factory=os.getpid)
    secrets: Mapping[str, Any] = field(default_factory=dict, repr=False)


def write_ready(data_dir: Path, ready: Ready) -> Path:
    """Write `ready.json` at once and return its path.

    Raises: ConfigurationError if the folder cannot be written
    """
    path = data_dir / READY_FILE
    document = {**ready.secrets, "http": ready.http, "grpc": ready.grpc, "audit": ready.audit, "pid": ready.pid}
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path, json.dumps(document, indent=2, sort_keys=True) + "\n", replace=True)
    except OSError as exc:
        raise ConfigurationError(f"data folder {data_dir} cannot be written: {exc.strerror}") from exc
    return path


def read_ready(data_dir: Path) -> Ready:
    """Return where the process of this data folder can be reached.

    Raises: NotFound with code `not_running` if there is none, or the one that wrote the file has ended
    """
    path = data_dir / READY_FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        ready = Ready(
            http=document.pop("http"),
            grpc=document.pop("grpc"),
            audit=document.pop("audit"),
            pid=int(document.pop("pid")),
            secrets=document,
        )
    except FileNotFoundError:
        raise _not_running(data_dir, "there is no ready.json in it") from None
    except OSError as exc:
        raise _not_running(data_dir, f"{path} cannot be read: {exc.strerror}") from exc
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise _not_running(data_dir, f"{path} was not written by this version") from exc
    if not _alive(ready.pid):
        raise _not_running(data_dir, f"process {ready.pid}, which wrote {path}, has ended")
    return ready


def remove_ready(data_dir: Path) -> None:
    """Remove this process's `ready.json`; one that another process has written since stays."""
    path = data_dir / READY_FILE
    try:
        if json.loads(path.read_text(encoding="utf-8"))["pid"] == os.getpid():
            path.unlink(missing_ok=True)
    except (OSError, ValueError, KeyError, TypeError):
        return


def _not_running(data_dir: Path, reason: str) -> NotFound:
    return NotFound(
        f"nothing is running in data folder {data_dir}: {reason}; "
        "start it with `fauxchange up`, or name another folder with --data-dir",
        code="not_running",
    )


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
