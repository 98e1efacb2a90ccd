"""PostgreSQL for tests: a server of the test run's own, or databases of its own on one that is named."""

import os
import re
import secrets
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from fauxchange.domain.errors import DeadlineExceeded, InvalidRequest
from fauxchange.testing.servers.binaries import Program, find_postgres, find_psql
from fauxchange.testing.servers.errors import ServerFailed
from fauxchange.testing.servers.home import Port, hand_over, home
from fauxchange.testing.servers.named import named, refuse_live
from fauxchange.testing.servers.process import ServerProcess, environment, spawn, start_on_free_port
from fauxchange.testing.servers.usage import used

TEST_URL = "TEST_POSTGRES_URL"
LIVE_URL = "POSTGRES_URL"
DEFAULT_PORT = 5432
OWNER = "postgres"
MAINTENANCE = "postgres"
TOOL_TIMEOUT_S = 60.0
NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
READY_LINE = 7

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "16MB",
    "max_connections": "100",
    "max_wal_size": "512MB",
    # A commit is on disk when it is acknowledged: durability tests rely on it, and benchmarks mean it.
    "fsync": "on",
    # In files, so that a killed server leaves nothing in the system's shared memory.
    "dynamic_shared_memory_type": "mmap",
    # A worker that looks at a template would keep it from being copied.
    "autovacuum": "off",
    "jit": "off",
    "logging_collector": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
}
"""Small, quiet, and as durable as in earnest."""


@dataclass(frozen=True, slots=True)
class Database:
    """One database of a test: its name and the URL of its owner."""

    name: str
    url: str


class PostgresServer:
    """A PostgreSQL server that tests may use; one that was started for them can also be frozen, killed and restarted.

    Raises: InvalidRequest when a server that was only named (`TEST_POSTGRES_URL`) is to be stopped
    """

    def __init__(self, url: str, label: str, psql: Path, own: ServerProcess | None = None) -> None:
        self.label = label
        self._url = url
        self._psql = psql
        self._own = own
        self._numbers = count(1)
        # On a server that others use as well, nobody else's database may have the name.
        self._prefix = "test" if own is not None else f"fauxchange_test_{os.getpid()}_{secrets.token_hex(2)}"
        self._databases: set[str] = set()
        self._templates: dict[str, str] = {}

    @property
    def url(self) -> str:
        """The URL of the maintenance database, for one who may do anything on the server."""
        used(self.label)
        return self._url

    @property
    def is_own(self) -> bool:
        """Whether the server was started here, so that it may be stopped here."""
        return self._own is not None

    @property
    def process(self) -> ServerProcess:
        """The server's process.

        Raises: InvalidRequest if it is not ours
        """
        if self._own is None:
            raise InvalidRequest(f"{self.label} is not ours to stop; start one with `start_postgres()`")
        used(self.label)
        return self._own

    @property
    def socket_folder(self) -> Path:
        """The folder of the Unix socket.

        Raises: InvalidRequest if the server is not ours
        """
        return self.process.folder

    def url_of(self, database: str, user: str | None = None, password: str | None = None) -> str:
        """Return the URL of a database, for its owner or for the user who is named."""
        used(self.label)
        parts = urlsplit(self._url)
        netloc = parts.netloc
        if user is not None:
            secret = f":{password}" if password is not None else ""
            netloc = f"{user}{secret}@{netloc.rpartition('@')[2]}"
        return urlunsplit(parts._replace(netloc=netloc, path=f"/{database}"))

    def create_database(self, template: str | None = None) -> Database:
        """Create an empty database, or a copy of a template that was made here, and return it.

        Raises: InvalidRequest if there is no such template
        """
        if template is not None and template not in self._templates:
            raise InvalidRequest(f"there is no template {template!r}; make it with `make_template`")
        return self._create(
            f"{self._prefix}_{next(self._numbers)}",
            "template0" if template is None else self._templates[template],
        )

    def drop_database(self, database: Database) -> None:
        """Remove a database and end whatever is connected to it; safe to call twice."""
        self.execute(f'DROP DATABASE IF EXISTS "{database.name}" WITH (FORCE)')
        self._databases.discard(database.name)

    def make_template(self, name: str, prepare: Callable[[str], None]) -> str:
        """Make a template once, `prepare` being given the URL of the empty database, and return its name.

        Ensures: copies are possible whatever `prepare` leaves connected
        """
        if NAME.fullmatch(name) is None:
            raise InvalidRequest(f"a template's name is of small letters, digits and underscores, not {name!r}")
        if name not in self._templates:
            database = self._create(f"{self._prefix}_template_{name}", "template0")
            try:
                prepare(database.url)
            except BaseException:
                self.drop_database(database)
                raise
            self.execute(
                f'ALTER DATABASE "{database.name}" WITH ALLOW_CONNECTIONS false',
                # Our own name, of letters and digits.
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database.name}'",  # noqa: S608
            )
            self._templates[name] = database.name
        return name

    def execute(self, *statements: str, database: str | None = None) -> list[str]:
        """Run each statement in a transaction of its own and return the rows, columns separated by a bar.

        Raises: ServerFailed with the server's words, DeadlineExceeded if it does not answer
        """
        used(self.label)
        return _executed(self._psql, self._url if database is None else self.url_of(database), statements)

    def freeze(self) -> None:
        """Stop the server and all its backends where they are: connections stay open and nothing answers."""
        self.process.freeze()

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self.process.thaw()

    def kill(self) -> None:
        """End the server as a loss of power would; what was committed is there after a restart."""
        self.process.kill()

    def stop(self) -> None:
        """Stop the server in order, ending its connections."""
        self.process.stop()

    def restart(self) -> None:
        """Start the server again on its port and with its data, after stopping it if it runs."""
        self.process.stop()
        self.process.start()

    def ensure_running(self) -> None:
        """Bring a server back that a test has left frozen, stopped or dead."""
        if self._own is None:
            return
        if self._own.is_running:
            self._own.thaw()
        else:
            self._own.start()

    def drop_everything(self) -> None:
        """Remove every database and template that was made here."""
        names = sorted({*self._databases, *self._templates.values()})
        if names:
            self.execute(*(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)' for name in names))
        self._databases.clear()
        self._templates.clear()

    def _create(self, name: str, template: str) -> Database:
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        self._databases.add(name)
        return Database(name, self.url_of(name))


@contextmanager
def start_postgres(
    settings: Mapping[str, str] | None = None, *, in_memory: bool = False, program: Program | None = None
) -> Iterator[PostgresServer]:
    """Run a PostgreSQL server of one's own for as long as the block lasts, with these settings on top of ours.

    It comes from the wheel, else from the machine, unless a program is named; `TEST_POSTGRES_URL` is for tests that
    leave the server alone. One that is `in_memory` keeps its files there if there is room: it behaves the same, is many
    times quicker on a busy disk, and measures nothing.

    Raises: ServerMissing if there is none to start, ServerFailed if it does not start
    """
    program = program or find_postgres()
    password = secrets.token_hex(16)
    process, port = _started(program, password, {**SETTINGS, **(settings or {})}, in_memory=in_memory)
    url = f"postgresql://{OWNER}:{password}@127.0.0.1:{port.number}/{MAINTENANCE}"
    server = PostgresServer(url, program.label, find_psql(program.path), process)
    used(server.label)
    try:
        yield server
    finally:
        # Nobody reads the data again, so nothing has to be written in order.
        process.kill()
        port.release()
        home().leave(process.folder)


@contextmanager
def use_postgres() -> Iterator[PostgresServer]:
    """Give out the server that `TEST_POSTGRES_URL` names, or else one of our own, for as long as the block lasts.

    Raises: ServerMissing or ServerFailed; ConfigurationError if the URL is the live one's
    """
    url = named(TEST_URL)
    if url is None:
        with start_postgres(in_memory=True) as own:
            yield own
        return
    refuse_live(TEST_URL, url, LIVE_URL, DEFAULT_PORT)
    plain = urlunsplit(urlsplit(url)._replace(scheme="postgresql"))
    psql = find_psql()
    version = _executed(psql, plain, ["SHOW server_version"])[0].split()[0]
    server = PostgresServer(plain, f"PostgreSQL {version} ({TEST_URL})", psql)
    used(server.label)
    try:
        yield server
    finally:
        server.drop_everything()


def _executed(psql: Path, url: str, statements: Sequence[str]) -> list[str]:
    """Run statements through PostgreSQL's own client: drivers belong to the data adapter.

    Raises: ServerFailed with the server's words, DeadlineExceeded if it does not answer
    """
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    # The password is in the environment, since everyone may read a command line.
    bare = urlunsplit(parts._replace(netloc=f"{parts.username}@{place}" if parts.username else place))
    secret = {"PGPASSWORD": unquote(parts.password)} if parts.password else {}
    commands = [part for statement in statements for part in ("-c", statement)]
    try:
        done = subprocess.run(  # noqa: S603 - no shell
            [str(psql), "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", bare, *commands],
            env={**environment(), **secret},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=TOOL_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise DeadlineExceeded(f"PostgreSQL at {place} did not answer within {TOOL_TIMEOUT_S:g} s") from None
    if done.returncode != 0:
        raise ServerFailed(f"PostgreSQL at {place}: {done.stderr.strip()}")
    return done.stdout.splitlines()


def _started(
    program: Program, password: str, settings: Mapping[str, str], *, in_memory: bool
) -> tuple[ServerProcess, Port]:
    """Make a data folder and start a server on it."""
    folder = home().enter("postgres", in_memory=in_memory)

    def on_port(port: int) -> ServerProcess:
        options = {**settings, "port": str(port), "unix_socket_directories": str(folder)}
        switches = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        return ServerProcess(
            program.label,
            [str(program.path), "-D", str(data), *switches],
            folder,
            is_ready=lambda pid: _is_ready(data, pid),
            # "Fast": connections are ended, and what is in memory is written.
            stop_signal=signal.SIGINT,
        )

    try:
        data = _initialised(program, folder, password)
        return start_on_free_port(on_port)
    except BaseException:
        home().leave(folder)
        raise


def _initialised(program: Program, folder: Path, password: str) -> Path:
    """Make an empty data folder whose owner has the password.

    Raises: ServerFailed
    """
    data = folder / "data"
    secret = folder / "password.txt"
    secret.touch(mode=0o600)
    secret.write_text(password, encoding="utf-8")
    hand_over(secret)
    argv = [str(program.path.with_name("initdb")), "-D", str(data), "-U", OWNER, "--pwfile", str(secret)]
    argv += ["--auth=scram-sha-256", "--locale=C", "--encoding=UTF8", "--no-sync", "--no-instructions"]
    log = folder / "initdb.txt"
    with log.open("wb") as output:
        process = spawn(argv, folder, output.fileno())
        try:
            code = process.wait(TOOL_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    secret.unlink()
    if code != 0:
        said = log.read_text(encoding="utf-8", errors="replace")
        raise ServerFailed(f"{program.label}: initdb ended with {code}: {said[-2000:]}")
    return data


def _is_ready(data: Path, pid: int) -> bool:
    """Read whether the server takes connections from the file where it says so."""
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    # A killed server leaves the file of its own last moment behind.
    return len(lines) > READY_LINE and lines[0].strip() == str(pid) and lines[READY_LINE].strip() == "ready"
