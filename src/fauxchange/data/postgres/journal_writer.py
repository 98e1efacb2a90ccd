"""The one writer of the journal in PostgreSQL.

Rules of this module:

* An append is one statement in autocommit mode with `synchronous_commit=on`: one round trip, and the row is on the disk
  when the server answers.
* The statement itself checks that it goes on from the batch that we believe to be the last, and that we still are the
  writer: it locks the row with the writer's number, which whoever comes next counts up. What a writer that has been
  succeeded sends, now or ever, appends nothing.
* A writer claims the journal before anything else: it holds an advisory lock for as long as its session lives, so a
  second one is refused, and it counts up the writer's number. Our own sessions before it, if the server still has them,
  are ended first. What the journal then ends with is final.
* Every wait is bounded. An append that is not answered in time has failed with an unknown outcome; the connection is
  given up, and a new claim finds out. While that lasts, a task tries again and again, so that health tells how it is.
* The journal found by a new claim must end with what we had acknowledged, or with the batch whose outcome is unknown.
  Anything else means that another process went on from there, or that the server has lost something: then this writer
  never appends again.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGresult

from fauxchange.data.journal import GENESIS, Head, next_batch
from fauxchange.data.ports import JournalBatch
from fauxchange.data.postgres.connections import BoundedConnection, translated
from fauxchange.data.postgres.engine import PostgresDatabase
from fauxchange.data.postgres.journal_rows import JOURNAL, last_head
from fauxchange.data.postgres.wire import Wire
from fauxchange.data.tables import exchange_journal_writer
from fauxchange.domain.errors import (
    ConfigurationError,
    Conflict,
    DamagedJournal,
    FauxchangeError,
    InvariantViolation,
    Unavailable,
)
from fauxchange.platform.logging import get_logger

_log = get_logger(__name__)

Done = Callable[[Exception | None], None]

MAX_WAITING_BYTES = 64 * 1024 * 1024
"""How much payload may wait for the server before appends are refused."""
RETRY_S = 0.25
"""How long a claim that failed waits before the next, while the server is there."""
RETRY_AFTER_S = 1.0
LOCK_S = 3.0
"""How long a claim waits for the writer before it, whose process may have ended just now."""

_LOCK = 4_216_337_650_139_522
"""The key of the advisory lock that a journal's writer holds; such keys count within one database."""
_WRITER = exchange_journal_writer.fullname
_NAME = "journal"

_SETTLE = """
    SELECT set_config('synchronous_commit', 'on', false),
           set_config('lock_timeout', %(lock_ms)s, false),
           set_config('statement_timeout', %(statement_ms)s, false),
           set_config('tcp_keepalives_idle', '5', false),
           set_config('tcp_keepalives_interval', '1', false),
           set_config('tcp_keepalives_count', '3', false)
"""
_SELF = """
    SELECT pid, backend_start::text, current_setting('fsync') FROM pg_stat_activity WHERE pid = pg_backend_pid()
"""
_END_SESSION = """
    SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity
    WHERE pid = %s AND backend_start = %s::timestamptz
"""
_HOLDER = """
    SELECT coalesce(activity.application_name, ''), coalesce(host(activity.client_addr), 'this machine'),
           activity.pid, coalesce(date_trunc('second', activity.backend_start)::text, '')
    FROM pg_locks JOIN pg_stat_activity AS activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND ((classid::bigint << 32) | objid::bigint) = %s
"""
_CLAIM = f"""
    INSERT INTO {_WRITER} AS current (name, writer) VALUES ('{_NAME}', 1)
    ON CONFLICT (name) DO UPDATE SET writer = current.writer + 1 RETURNING writer
"""  # noqa: S608 - made of constants
PREPARE = (
    f"""
    PREPARE fauxchange_append (bigint, bigint, text, text, bytea, bigint, bigint) AS
    WITH fenced AS (SELECT FROM {_WRITER} WHERE name = '{_NAME}' AND writer = $6 FOR SHARE)
    INSERT INTO {JOURNAL} (first_sequence, last_sequence, prev_hash, hash, payload)
    SELECT $1, $2, $3, $4, $5 FROM fenced
    WHERE $1 = 1 OR EXISTS (
        SELECT FROM {JOURNAL} AS before
        WHERE before.first_sequence = $7 AND before.last_sequence = $1 - 1 AND before.hash = $3
    )
    """,  # noqa: S608 - made of constants
    f"""
    PREPARE fauxchange_end AS
    SELECT first_sequence, last_sequence, hash FROM {JOURNAL} ORDER BY first_sequence DESC LIMIT 1
    """,  # noqa: S608 - made of constants
)
_APPEND, _END = b"fauxchange_append", b"fauxchange_end"
_APPEND_FORMATS = (Format.BINARY, Format.BINARY, Format.TEXT, Format.TEXT) + (Format.BINARY,) * 3


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalLimits:
    """How patient a writer is. Units: seconds.

    `answer_s` and `question_s` together are how long a caller may have to wait for the news that the server is silent:
    a statement is given up, and then what the journal ends with cannot be found out at once, without a connection.
    `first_s` bounds the first use, `claim_s` each claim, and `lock_s` the wait for another writer to end within it.
    """

    answer_s: float
    question_s: float
    first_s: float
    claim_s: float
    lock_s: float

    @classmethod
    def within(cls, silence_s: float) -> "JournalLimits":
        """Return the limits by which a server that is silent for so long is noticed, and told of, by then."""
        return cls(
            answer_s=0.7 * silence_s,
            question_s=0.2 * silence_s,
            first_s=max(15.0, silence_s),
            claim_s=max(10.0, silence_s),
            lock_s=LOCK_S,
        )


@dataclass(frozen=True, slots=True)
class _Place:
    """The end of the chain as the writer knows it: its head, and where the last batch begins (0 before the first)."""

    head: Head
    first_sequence: int


@dataclass(slots=True, eq=False)
class _Append:
    first_sequence: int
    last_sequence: int
    payload: bytes
    done: Done
    timer: asyncio.TimerHandle | None = None
    batch: JournalBatch | None = None

    def end(self, failure: Exception | None) -> None:
        self.done(failure)


@dataclass(slots=True, eq=False)
class _Question:
    """Asks for the last sequence stored, behind the appends before it."""

    answer: asyncio.Future[int]
    timer: asyncio.TimerHandle | None = None
    sequence: int = 0

    def end(self, failure: Exception | None) -> None:
        if self.answer.done():
            return
        if failure is None:
            self.answer.set_result(self.sequence)
        else:
            self.answer.set_exception(failure)


class JournalWriter:
    """Append batches one after another, and say how the store is; the journal is claimed at the first use."""

    def __init__(self, database: PostgresDatabase, limits: JournalLimits) -> None:
        self._database = database
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._jobs: deque[_Append | _Question] = deque()
        self._current: _Append | _Question | None = None
        self._wire: Wire | None = None
        self._claiming: asyncio.Task[None] | None = None
        self._sessions: set[tuple[int, str]] = set()
        self._writer = 0
        self._place: _Place | None = None
        self._unknown: _Place | None = None
        self._is_fresh = False
        self._refusal: Exception | None = None
        self._problem: str | None = None
        self._waiting_bytes = 0
        self._is_closing = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def problem(self) -> str | None:
        """Why the journal cannot be appended to, or None if it can (or nobody has tried yet)."""
        return self._problem

    def append_soon(self, first_sequence: int, last_sequence: int, payload: bytes, done: Done) -> None:
        """Append a batch when those before it are over; `done` gets the outcome from the event loop."""
        refusal: Exception | None = self._refusal
        if self._is_closing:
            refusal = self._closed()
        elif self._waiting_bytes > MAX_WAITING_BYTES:
            refusal = self._unavailable("the server is slower than its callers")
        if refusal is not None:
            self._loop.call_soon(done, refusal)
            return
        self._waiting_bytes += len(payload)
        self._accept(_Append(first_sequence, last_sequence, payload, done), self._limits.answer_s)

    async def last_sequence(self) -> int:
        """Return the last sequence stored, asked of the server once all that came before is over.

        Raises: Unavailable, DamagedJournal; ConfigurationError if another process writes the journal;
                Conflict if another process has taken it over
        """
        if self._is_closing:
            raise self._closed()
        if self._refusal is not None:
            raise self._refusal
        question = _Question(self._loop.create_future())
        self._accept(question, self._limits.question_s if self._wire is None else self._limits.answer_s)
        return await question.answer

    async def close(self) -> None:
        """Finish what was accepted, give the journal back, and refuse what comes later."""
        self._is_closing = True
        await self._idle.wait()
        claiming, self._claiming = self._claiming, None
        if claiming is not None:
            claiming.cancel()
            await asyncio.wait([claiming])
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    # Jobs

    def _accept(self, job: _Append | _Question, patience_s: float) -> None:
        if self._place is None:
            # The first use of all: another process may be about to end, and nobody has been promised anything yet.
            patience_s = self._limits.first_s
        job.timer = self._loop.call_later(patience_s, self._late, job)
        self._idle.clear()
        self._jobs.append(job)
        self._go_on()

    def _go_on(self) -> None:
        """Send the next job that can be sent."""
        while self._current is None and self._jobs:
            wire, place = self._wire, self._place
            if wire is None or place is None:
                self._begin_claim()
                return
            job = self._jobs.popleft()
            if isinstance(job, _Question):
                if self._is_fresh:
                    # The claim has just asked, and nobody but us can have appended anything since.
                    job.sequence = place.head.sequence
                    self._loop.call_soon(self._end, job, None)
                    continue
                self._current = job
                wire.execute(_END, (), (), self._told_end)
                return
            try:
                batch = next_batch(place.head, job.first_sequence, job.last_sequence, job.payload)
            except Conflict as exc:
                self._loop.call_soon(self._end, job, exc)
                continue
            self._current, self._is_fresh, job.batch = job, False, batch
            wire.execute(_APPEND, self._row(batch, place), _APPEND_FORMATS, self._appended)

    def _row(self, batch: JournalBatch, place: _Place) -> tuple[bytes, ...]:
        """Return the parameters of the statement that appends a batch behind `place`."""
        numbers = (batch.first_sequence, batch.last_sequence, self._writer, place.first_sequence)
        first, last, writer, before = (number.to_bytes(8, "big", signed=True) for number in numbers)
        return first, last, batch.prev_hash.encode(), batch.hash.encode(), batch.payload, writer, before

    def _appended(self, result: PGresult) -> None:
        job = self._current
        if not isinstance(job, _Append) or job.batch is None:
            raise InvariantViolation("the answer to an append belongs to the append under way")
        if result.status != ExecStatus.COMMAND_OK:
            # Also where the server refuses: it may end a session that has just committed.
            self._lose(_message(result))
            return
        if result.command_tuples != 1:
            self._lose("the journal does not end where this process left it")
            return
        self._place = _place_of(job.batch)
        self._note(None)
        self._finish(job)

    def _told_end(self, result: PGresult) -> None:
        job = self._current
        if not isinstance(job, _Question):
            raise InvariantViolation("the answer to a question belongs to the question under way")
        if result.status != ExecStatus.TUPLES_OK:
            self._lose(_message(result))
            return
        place = _place_in(result)
        if place != self._place:
            self._lose("the journal does not end where this process left it")
            return
        job.sequence = place.head.sequence
        self._note(None)
        self._finish(job)

    def _finish(self, job: _Append | _Question) -> None:
        self._current = None
        # What waits goes out before anybody is told, which may take long.
        self._go_on()
        self._end(job, None)

    def _end(self, job: _Append | _Question, failure: Exception | None) -> None:
        """Tell the job's owner, once."""
        timer, job.timer = job.timer, None
        if timer is None:
            return
        timer.cancel()
        if isinstance(job, _Append):
            self._waiting_bytes -= len(job.payload)
        try:
            job.end(failure)
        # The event loop is told, as of any callback that raises; the others must hear of theirs as well.
        except Exception as exc:
            self._loop.call_exception_handler({"message": "journal: a caller failed when told", "exception": exc})
        if self._current is None and not self._jobs:
            self._idle.set()

    def _late(self, job: _Append | _Question) -> None:
        if job is self._current and self._wire is not None:
            # Our own loop may have been too busy to take in an answer that was there in time.
            self._wire.poll()
            if job is self._current:
                self._lose("the server does not answer in time")
        elif job in self._jobs:
            self._jobs.remove(job)
            self._end(job, self._unavailable(self._problem or "it is not claimed yet"))

    def _lose(self, reason: str) -> None:
        """Give the connection up, and with it the job under way, whose outcome is unknown."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None
        self._note(reason)
        self._database.suspect()
        job, self._current = self._current, None
        if isinstance(job, _Append) and job.batch is not None:
            self._unknown = _place_of(job.batch)
        if not self._is_closing:
            self._begin_claim()
        if job is not None:
            self._end(job, self._unavailable(reason))

    # The claim

    def _begin_claim(self) -> None:
        if self._claiming is None:
            self._claiming = self._loop.create_task(self._claim_again_and_again(), name=f"claim {self._name}")

    async def _claim_again_and_again(self) -> None:
        """Claim the journal, trying until it works; the first claim of all is tried once."""
        try:
            while True:
                try:
                    await self._claim()
                except Unavailable as exc:
                    self._note(exc.message)
                    if self._place is None:
                        self._refuse_waiting(exc)
                        return
                except (FauxchangeError, InvariantViolation) as exc:
                    self._note(str(exc))
                    if self._place is not None:
                        self._refusal = exc
                    self._refuse_waiting(exc)
                    return
                else:
                    self._note(None)
                    return
                if self._database.is_here.is_set():
                    await asyncio.sleep(RETRY_S)
                await self._database.is_here.wait()
        finally:
            self._claiming = None
            if self._wire is not None:
                self._go_on()

    def _refuse_waiting(self, failure: Exception) -> None:
        waiting, self._jobs = self._jobs, deque()
        for job in waiting:
            self._end(job, failure)

    async def _claim(self) -> None:
        """Connect, become the writer, and find out where the journal ends.

        Raises: Unavailable; ConfigurationError, Conflict or DamagedJournal if it is not ours to append to
        """
        connection = await self._database.connect_alone("journal")
        try:
            async with asyncio.timeout(self._limits.claim_s):
                syncs = await self._lock(connection)
                writer = await _value(connection, _CLAIM)
                head, first_sequence = await last_head(self._name, connection)
                for statement in PREPARE:
                    await connection.execute(statement)
            place = self._checked(_Place(head, first_sequence))
        except BaseException as exc:
            connection.pgconn.finish()
            if isinstance(exc, psycopg.Error | TimeoutError | OSError):
                self._database.suspect()
                raise translated(self._name, exc) from exc
            raise
        if not syncs and self._place is None:
            _log.warning("PostgreSQL runs with fsync=off: a power cut may lose what was acknowledged", store=self._name)
        self._writer, self._place, self._unknown = int(writer), place, None
        self._is_fresh = True
        self._wire = Wire(connection, self._lose)

    async def _lock(self, connection: BoundedConnection) -> bool:
        """Hold the writer's lock on `connection`, and return whether the server syncs."""
        limits = self._limits
        milliseconds = {"lock_ms": limits.lock_s * 1_000, "statement_ms": limits.claim_s * 1_000}
        await connection.execute(_SETTLE, {name: f"{value:.0f}" for name, value in milliseconds.items()})
        for session in tuple(self._sessions):
            ended = await (await connection.execute(_END_SESSION, session)).fetchone()
            if ended is None or ended[0]:
                self._sessions.discard(session)
        row = await (await connection.execute(_SELF)).fetchone()
        if row is None:
            raise Unavailable(f"PostgreSQL at {self._name} does not show our own session")
        # Known from now on: a claim that breaks off may leave it behind, with the lock.
        self._sessions.add((int(row[0]), str(row[1])))
        try:
            await connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        except pg.LockNotAvailable as exc:
            raise self._held(await (await connection.execute(_HOLDER, (_LOCK,))).fetchone()) from exc
        return bool(row[2] == "on")

    def _held(self, holder: tuple[Any, ...] | None) -> FauxchangeError:
        """Return the failure of a claim while another session holds the lock."""
        who = "another session"
        if holder is not None:
            application, address, pid, since = holder
            if pid in {own for own, _ in self._sessions}:
                return Unavailable(
                    f"PostgreSQL at {self._name} has not ended our session before this one (pid {pid})",
                    retry_after_s=RETRY_AFTER_S,
                )
            who = f"{application} on {address} (pid {pid}, since {since})"
        if self._place is not None:
            return Conflict(
                f"the journal in PostgreSQL at {self._name} has been taken over by {who}", code="journal_taken_over"
            )
        return ConfigurationError(
            f"the journal in PostgreSQL at {self._name} is written by {who}; stop that exchange, or name another "
            "database in POSTGRES_URL",
            field="POSTGRES_URL",
        )

    def _checked(self, found: _Place) -> _Place:
        """Return where the journal ends. Raises: DamagedJournal, Conflict if it is not where this writer left it."""
        if self._place is None or found in {self._place, self._unknown}:
            return found
        if found.head.sequence < self._place.head.sequence:
            raise DamagedJournal(
                f"the journal in PostgreSQL at {self._name} ends with command {found.head.sequence}, but "
                f"{self._place.head.sequence} was acknowledged: the server has lost the end of it (a standby that "
                "lagged behind, or an older copy); bring back what was lost, or start anew with what is left"
            )
        raise Conflict(
            f"another process has gone on with the journal in PostgreSQL at {self._name}", code="journal_taken_over"
        )

    # What is told

    @property
    def _name(self) -> str:
        return self._database.name

    def _closed(self) -> Unavailable:
        return Unavailable(f"the journal in PostgreSQL at {self._name} is closed", retryable=False)

    def _unavailable(self, reason: str) -> Unavailable:
        return Unavailable(
            f"the journal in PostgreSQL at {self._name} cannot be written: {reason}", retry_after_s=RETRY_AFTER_S
        )

    def _note(self, problem: str | None) -> None:
        if problem is not None and self._problem is None and self._place is not None:
            _log.error("journal cannot be written", store=f"postgresql:{self._name}", reason=problem)
        elif problem is None and self._problem is not None and self._place is not None:
            _log.warning("journal can be written again", store=f"postgresql:{self._name}")
        self._problem = problem


def _place_of(batch: JournalBatch) -> _Place:
    return _Place(Head(batch.last_sequence, batch.hash), batch.first_sequence)


def _place_in(result: PGresult) -> _Place:
    """Return the place that the row of the journal's last batch tells, which is not there in an empty one."""
    if result.ntuples == 0:
        return _Place(GENESIS, 0)
    first, last, own = (result.get_value(0, column) or b"" for column in range(3))
    return _Place(Head(int(last), own.decode()), int(first))


def _message(result: PGresult) -> str:
    lines = result.error_message.decode(errors="replace").strip().splitlines()
    return lines[0] if lines else "no reason was given"


async def _value(connection: psycopg.AsyncConnection[Any], statement: str) -> Any:
    row = await (await connection.execute(statement)).fetchone()
    return None if row is None else row[0]
