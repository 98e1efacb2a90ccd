"""Redis for tests: a server of the test run's own, or a database of its own on one that is named."""

import secrets
import shutil
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from fauxchange.domain.errors import ConfigurationError, InvalidRequest
from fauxchange.testing.servers.binaries import Program, find_redis
from fauxchange.testing.servers.errors import ServerFailed
from fauxchange.testing.servers.home import Port, hand_over, home
from fauxchange.testing.servers.named import named, refuse_live
from fauxchange.testing.servers.process import ServerProcess, start_on_free_port
from fauxchange.testing.servers.resp import Conversation, Reply
from fauxchange.testing.servers.usage import used

TEST_URL = "TEST_REDIS_URL"
LIVE_URL = "REDIS_URL"
DEFAULT_PORT = 6379
ADMIN = "admin"
USERS = "users.acl"
PROBE_TIMEOUT_S = 1.0
MARK = "fauxchange:test:database"
"""The key that says of a database on a foreign server that it belongs to tests."""
USER_WORDS = 2


class RedisServer:
    """A Redis server that tests may use; one that was started for them can also be frozen, killed and restarted.

    Raises: InvalidRequest when a server that was only named (`TEST_REDIS_URL`) is to be stopped
    """

    def __init__(self, url: str, label: str, own: ServerProcess | None = None) -> None:
        self.label = label
        self._url = url
        self._own = own
        self._users: set[str] = set()

    @property
    def url(self) -> str:
        """The URL of one who may do anything on the server."""
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
            raise InvalidRequest(f"{self.label} is not ours to stop; start one with `start_redis()`")
        used(self.label)
        return self._own

    def user_url(self, user: str, password: str) -> str:
        """Return the URL of one of the users that `load_acl` made."""
        used(self.label)
        parts = urlsplit(self._url)
        netloc = f"{quote(user, safe='')}:{quote(password, safe='')}@{parts.netloc.rpartition('@')[2]}"
        return urlunsplit(parts._replace(netloc=netloc))

    def load_acl(self, lines: Iterable[str]) -> None:
        """Make users as the lines of an ACL file say (`user NAME on >password ~pattern +command`).

        A user of that name is replaced; others stay, and so do all after a restart.

        Raises: InvalidRequest for a line of another form, or if the server is not ours (its users are the whole
                server's); ServerFailed for a rule that the server does not know
        """
        _ = self.process
        users = [line.split() for line in lines if line.strip() and not line.lstrip().startswith("#")]
        for words in users:
            if len(words) < USER_WORDS or words[0] != "user":
                raise InvalidRequest(f"a line of an ACL file begins with `user NAME`, not {' '.join(words[:2])!r}")
            if words[1] == ADMIN:
                raise InvalidRequest(f"the user {ADMIN!r} is the one that looks after the server")
        for words in users:
            self.command("ACL", "SETUSER", words[1], "reset", *words[2:])
            self._users.add(words[1])
        self.command("ACL", "SAVE")

    def command(self, *words: str) -> Reply:
        """Carry out one command, with every right, and return its reply.

        Raises: ServerFailed with the server's words; OSError if it cannot be reached or does not answer
        """
        used(self.label)
        with _connected(self._url) as conversation:
            return conversation.command(*words)

    def flush(self) -> None:
        """Empty the server, or the tests' database of it where others use it as well."""
        if self._own is not None:
            self.command("FLUSHALL")
            return
        self.command("FLUSHDB")
        self.command("SET", MARK, "1")

    def freeze(self) -> None:
        """Stop the server where it is: connections stay open and nothing answers."""
        self.process.freeze()

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self.process.thaw()

    def kill(self) -> None:
        """End the server as a loss of power would."""
        self.process.kill()

    def stop(self) -> None:
        """Stop the server in order."""
        self.process.stop()

    def restart(self, *, empty: bool = False) -> None:
        """Start the server again on its port and with its users, after stopping it if it runs.

        Without persistence it comes back empty in any case; with it, only when told to.
        """
        self.process.stop()
        if empty:
            _remove_data(self.process.folder)
        self.process.start()

    def ensure_running(self) -> None:
        """Bring a server back that a test has left frozen, stopped or dead."""
        if self._own is None:
            return
        if self._own.is_running:
            self._own.thaw()
        else:
            self._own.start()

    def remove_users(self) -> None:
        """Remove the users that were made here."""
        if self._users:
            self.command("ACL", "DELUSER", *sorted(self._users))
            self.command("ACL", "SAVE")
        self._users.clear()


@contextmanager
def start_redis(*, persistent: bool = False, program: Program | None = None) -> Iterator[RedisServer]:
    """Run a Redis server of one's own for as long as the block lasts, with users and their rights switched on.

    One that is `persistent` writes every command to disk before it answers, and has its keys again after a restart.
    It comes from the wheel, else from the machine, unless a program is named; `TEST_REDIS_URL` is for tests that leave
    the server alone.

    Raises: ServerMissing if there is none to start, ServerFailed if it does not start
    """
    program = program or find_redis()
    password = secrets.token_hex(16)
    process, port = _started(program, password, persistent=persistent)
    server = RedisServer(_admin_url(password, port.number), program.label, process)
    used(server.label)
    try:
        yield server
    finally:
        process.kill()
        port.release()
        home().leave(process.folder)


@contextmanager
def use_redis(number: int = 0) -> Iterator[RedisServer]:
    """Give out the server that `TEST_REDIS_URL` names, or else one of our own, for as long as the block lasts.

    Of a server that is named, the database of the URL is taken, or the `number`th after it where several test runs
    share it. It must be empty or have been used by tests before, since they empty it.

    Raises: ServerMissing or ServerFailed; ConfigurationError if the database is somebody's
    """
    url = named(TEST_URL)
    if url is None:
        with start_redis() as own:
            yield own
        return
    refuse_live(TEST_URL, url, LIVE_URL, DEFAULT_PORT)
    parts = urlsplit(url)
    if parts.scheme != "redis":
        raise ConfigurationError(f"{TEST_URL} begins with redis://; tests do not speak {parts.scheme}")
    path = parts.path.strip("/") or "0"
    if not path.isdecimal():
        raise ConfigurationError(f"{TEST_URL} ends with the number of a database, not with {path!r}")
    ours = urlunsplit(parts._replace(path=f"/{int(path) + number}"))
    refuse_live(TEST_URL, ours, LIVE_URL, DEFAULT_PORT)
    server = RedisServer(ours, _label(ours))
    used(server.label)
    if server.command("DBSIZE") != 0 and server.command("EXISTS", MARK) != 1:
        raise ConfigurationError(
            f"database {int(path) + number} of {TEST_URL} holds keys that tests did not write, and they would empty "
            "it; name an empty one"
        )
    try:
        yield server
    finally:
        server.command("FLUSHDB")


def _label(url: str) -> str:
    try:
        with _connected(url) as conversation:
            text = str(conversation.command("INFO", "server"))
    except OSError as exc:
        raise ServerFailed(f"the server of {TEST_URL} is away: {exc}") from exc
    facts = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    if "valkey_version" in facts:
        return f"Valkey {facts['valkey_version']} ({TEST_URL})"
    return f"Redis {facts.get('redis_version', '?')} ({TEST_URL})"


@contextmanager
def _connected(url: str, timeout_s: float | None = None) -> Iterator[Conversation]:
    """Open a connection as the URL says.

    Raises: ServerFailed if the server refuses, OSError if it is away
    """
    parts = urlsplit(url)
    place = (parts.hostname or "127.0.0.1", parts.port or DEFAULT_PORT)
    with Conversation(*place) if timeout_s is None else Conversation(*place, timeout_s) as conversation:
        if parts.password:
            user = [unquote(parts.username)] if parts.username else []
            conversation.command("AUTH", *user, unquote(parts.password))
        if parts.path.strip("/") not in {"", "0"}:
            conversation.command("SELECT", parts.path.strip("/"))
        yield conversation


def _admin_url(password: str, port: int) -> str:
    return f"redis://{ADMIN}:{password}@127.0.0.1:{port}/0"


def _started(program: Program, password: str, *, persistent: bool) -> tuple[ServerProcess, Port]:
    """Start a server in a new folder."""
    folder = home().enter("redis")

    def on_port(port: int) -> ServerProcess:
        url = _admin_url(password, port)
        return ServerProcess(
            program.label,
            _command_line(program, folder, port, persistent=persistent),
            folder,
            is_ready=lambda _pid: _answers(url),
            stop_signal=signal.SIGTERM,
        )

    try:
        users = folder / USERS
        users.touch(mode=0o600)
        users.write_text(f"user default off\nuser {ADMIN} on >{password} ~* &* +@all\n", encoding="utf-8")
        hand_over(users)
        return start_on_free_port(on_port)
    except BaseException:
        home().leave(folder)
        raise


def _command_line(program: Program, folder: Path, port: int, *, persistent: bool) -> list[str]:
    options = {
        "port": str(port),
        "bind": "127.0.0.1",
        "dir": str(folder),
        "aclfile": str(folder / USERS),
        "save": "",
        "appendonly": "yes" if persistent else "no",
        "appendfsync": "always",
        "daemonize": "no",
        "maxmemory": "512mb",
        "maxmemory-policy": "noeviction",
    }
    return [str(program.path), *(part for key, value in options.items() for part in (f"--{key}", value))]


def _answers(url: str) -> bool:
    try:
        with _connected(url, PROBE_TIMEOUT_S) as conversation:
            return conversation.command("PING") == "PONG"
    except (OSError, ServerFailed):
        return False


def _remove_data(folder: Path) -> None:
    """Remove what the server has written of its keys; its users stay."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffix == ".rdb":
            path.unlink()
