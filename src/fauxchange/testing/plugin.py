"""The pytest plugin: real servers as fixtures, and a summary of how many tests ran against each.

A server is started when the first test asks for it, once per worker of a distributed run, and cleared away at the end.
Where there is none, tests that need it fail with what to do about it, or are skipped and counted if the environment
says so (`FAUXCHANGE_TEST_SKIP_MISSING=1`): a run that quietly left them out would look as good as one that had them.
"""

import os
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import pytest

from fauxchange.testing.servers import (
    SKIP_MISSING,
    Database,
    PostgresServer,
    RedisServer,
    ServerMissing,
    use_postgres,
    use_redis,
)
from fauxchange.testing.servers.usage import forget, observe

OUTPUT = "fauxchange_servers"
"""Where a worker of a distributed run leaves its tally for the summary."""


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Give out a real PostgreSQL for the whole run; tests that freeze or kill one start their own."""
    with use_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template() -> str | None:
    """Name the template of `postgres_database`; a conftest that overrides this makes one with tables in it."""
    return None


@pytest.fixture
def postgres_database(postgres_server: PostgresServer, postgres_template: str | None) -> Iterator[Database]:
    """Give out a fresh database, for this test alone."""
    postgres_server.ensure_running()
    database = postgres_server.create_database(postgres_template)
    yield database
    postgres_server.ensure_running()
    postgres_server.drop_database(database)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """Give out a real Redis for the whole run; tests that freeze or kill one start their own."""
    with use_redis(_worker_number()) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> Iterator[str]:
    """Give out the URL of an empty Redis, for one who may do anything on it."""
    redis_server.ensure_running()
    redis_server.flush()
    yield redis_server.url
    redis_server.ensure_running()
    redis_server.remove_users()


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count."""
    config.pluginmanager.register(Tally(config), "fauxchange-servers")


class Tally:
    """How many tests ran against each server, over all workers."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._ran: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        # What the running test and the fixtures that are being set up for it have used, the innermost last.
        self._using: list[set[str]] = []
        self._of_fixtures: dict[object, set[str]] = {}
        observe(self._note)

    def pytest_unconfigure(self) -> None:
        """Count no more."""
        forget(self._note)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        """Count for one test."""
        with self._recorded():
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[object]) -> Generator[None, object, object]:
        """Remember what a fixture uses: it counts for every test that has the fixture, not for the first alone."""
        with self._recorded() as used:
            self._of_fixtures[fixturedef] = used
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self) -> Generator[None, object, object]:
        """Say what is missing instead of showing where that was noticed."""
        with self._told():
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Count the test for what it and its fixtures use, unless it turns out to be skipped."""
        counts = True
        try:
            with self._told():
                return (yield)
        except pytest.skip.Exception:
            counts = False
            raise
        finally:
            if counts:
                self._ran.update({*self._using[-1], *self._used_by_fixtures(item)})

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hand a worker's tally to the process that writes the summary."""
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[OUTPUT] = {"ran": dict(self._ran), "skipped": dict(self._skipped)}

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object) -> None:
        """Add the tally of a worker that has ended; one that crashed has left none."""
        tally = getattr(node, "workeroutput", {}).get(OUTPUT, {})
        self._ran.update(tally.get("ran", {}))
        self._skipped.update(tally.get("skipped", {}))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write how many tests ran against each server, and how many did not for want of one."""
        if self._ran or self._skipped:
            terminalreporter.write_sep("=", "real servers")
            terminalreporter.write_line(summary(self._ran, self._skipped))

    def _note(self, label: str) -> None:
        for used in self._using:
            used.add(label)

    @contextmanager
    def _recorded(self) -> Iterator[set[str]]:
        used: set[str] = set()
        self._using.append(used)
        try:
            yield used
        finally:
            self._using.pop()

    def _used_by_fixtures(self, item: pytest.Item) -> Iterator[str]:
        if not isinstance(item, pytest.Function):
            return
        for name, definitions in item._fixtureinfo.name2fixturedefs.items():  # noqa: SLF001 - pytest has no other way
            for definition in reversed(definitions):
                yield from self._of_fixtures.get(definition, ())
                if name not in definition.argnames:
                    # It replaces those of the same name further up.
                    break

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn a missing server into a plain failure, or into a skip that is counted where the environment says so."""
        try:
            yield
        except ServerMissing as missing:
            if os.environ.get(SKIP_MISSING) == "1":
                self._skipped[missing.name] += 1
                pytest.skip(f"no {missing.name} to test against ({SKIP_MISSING}=1)")
            pytest.fail(missing.message, pytrace=False)


def summary(ran: Counter[str], skipped: Counter[str]) -> str:
    """Return one line that names each server with the number of its tests, and what was skipped for want of one."""
    parts = [f"{label}: {_tests(ran[label])}" for label in sorted(ran)]
    parts += [f"skipped for want of {name}: {_tests(skipped[name])}" for name in sorted(skipped)]
    return "; ".join(parts if skipped else [*parts, "none skipped"])


def _tests(number: int) -> str:
    return f"{number} test" if number == 1 else f"{number} tests"


def _worker_number() -> int:
    """Return which worker of a distributed run this is, from 0."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
