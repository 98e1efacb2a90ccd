"""How long it takes until the venue is there, beside an interpreter that only imports what the venue imports.

Ready means that `/api/v1/ready` and `/api/v1/health` answer 200 and the standard gRPC health check says SERVING, all
three asked for from outside. Each start has a new data folder; the starts take turns with those of the baseline.
"""

import contextlib
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from statistics import median

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fauxchange.bench.dependencies import import_command
from fauxchange.bench.figures import Figure, Report, figure
from fauxchange.bench.processes import (
    POLL_S,
    START_TIMEOUT_S,
    UP,
    Child,
    await_ready,
    child,
    environment,
    own_settings,
    scratch,
)
from fauxchange.domain.errors import Unavailable
from fauxchange.platform.ready import Ready

CLI = (sys.executable, "-m", "fauxchange.cli")
PATHS = ("/api/v1/ready", "/api/v1/health")

TARGETS = {
    "ready_beyond_imports": "at most 3 s",
    "version": "at most 0.5 s",
    "help": "at most 0.5 s",
}


def run(report: Report, *, starts: int = 5) -> dict[str, object]:
    """Measure several starts of the venue and of the quick commands; medians are reported."""
    ready_s, imports_s, version_s, help_s, bare_s = [], [], [], [], []
    for number in range(1, starts + 1):
        report(f"start {number} of {starts}")
        imports_s.append(command_s(import_command()))
        ready_s.append(start_s())
        bare_s.append(command_s((sys.executable, "-c", "pass")))
        version_s.append(command_s((*CLI, "version")))
        help_s.append(command_s((*CLI, "--help")))
    ready, imports, bare = median(ready_s), median(imports_s), median(bare_s)
    figures: dict[str, Figure] = {
        "ready": figure(ready, "s", imports, decimals=3),
        "ready_beyond_imports": figure(max(0.0, ready - imports), "s", decimals=3),
        "version": figure(median(version_s), "s", bare, decimals=3),
        "help": figure(median(help_s), "s", bare, decimals=3),
    }
    return {"benchmark": "startup", "starts": starts, "figures": figures}


def start_s() -> float:
    """Start a venue, and return after how many seconds it was ready."""
    with scratch() as folder:
        settings = own_settings(folder, {})
        begun = time.perf_counter()
        with child(UP, folder=folder, settings=settings) as process:
            ready = await_ready(process, folder)
            for path in PATHS:
                _await_http(process, ready.http + path)
            _await_grpc(ready)
            return time.perf_counter() - begun


def command_s(command: Sequence[str]) -> float:
    """Run a command to its end, and return how many seconds it took. Raises: Unavailable if it fails."""
    with scratch() as folder:
        begun = time.perf_counter()
        ended = subprocess.run(
            command, cwd=folder, env=environment(), capture_output=True, timeout=START_TIMEOUT_S, check=False
        )
        elapsed_s = time.perf_counter() - begun
    if ended.returncode:
        raise Unavailable(f"{' '.join(command)[:80]} ended with {ended.returncode}: {ended.stderr.decode()[-500:]}")
    return elapsed_s


def _await_http(process: Child, url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        process.check_alive()
        with contextlib.suppress(urllib.error.URLError), urllib.request.urlopen(url, timeout=1.0) as answer:
            if answer.status == 200:
                return
        time.sleep(POLL_S)
    raise Unavailable(f"{url} did not answer 200 within {START_TIMEOUT_S:g} s")


def _await_grpc(ready: Ready) -> None:
    with grpc.insecure_channel(ready.grpc) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            answer = check(health_pb2.HealthCheckRequest(), timeout=START_TIMEOUT_S, wait_for_ready=True)
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return
            time.sleep(POLL_S)
    raise Unavailable(f"gRPC health was not SERVING within {START_TIMEOUT_S:g} s")
