"""The command line as its tests run it: in this process, away from the settings of whoever runs them."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from exchange_fake import FakeExchange
from typer.testing import CliRunner, Result

from fauxchange.cli.app import app
from fauxchange.platform.settings import documented_settings

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder without a `.env`, in an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for setting in documented_settings():
        monkeypatch.delenv(setting.name, raising=False)
    return tmp_path


@pytest.fixture(autouse=True)
def _no_terminal_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the width that a parallel test run gives its workers; output here goes to no terminal."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def run() -> Run:
    """Return a function that runs a command; a bug is raised here, not hidden in an exit code."""

    def run_command(*arguments: str | Path, env: dict[str, str] | None = None) -> Result:
        runner = CliRunner(env=env)
        return runner.invoke(app, [str(each) for each in arguments], catch_exceptions=False, prog_name="fauxchange")

    return run_command


@pytest.fixture
def exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeExchange]:
    """Return an exchange that runs on the default data folder, with a demo account and an admin key."""
    fake = FakeExchange()
    serving = threading.Thread(target=fake.server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    ready = {
        "http": fake.url,
        "grpc": "127.0.0.1:1",
        "audit": None,
        "pid": os.getpid(),
        "demo": {"account_id": "3", "api_key": "demo-key", "api_secret": "demo-secret"},
        "admin_key": "the-admin-key",
    }
    (tmp_path / "ready.json").write_text(json.dumps(ready))
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    for name in ("FX_API_KEY", "FX_API_SECRET"):
        monkeypatch.delenv(name, raising=False)
    yield fake
    fake.server.shutdown()
    serving.join()
    fake.server.server_close()
