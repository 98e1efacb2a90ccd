"""The way into the kernel: a state, commands in, events out.

    engine = Engine(compiler=compile_kernel)          # without a compiler it runs as plain Python
    commands = stamp([create_asset(8), deposit(3, 0, 100), place(3, 0, side=Side.BUY, ...)], first_sequence=1, ts_ns=0)
    events = engine.apply(commands)                   # a structured array of dtype EVENT

What is not said by the vocabulary:

* Every PLACE that reaches a known account takes an order id, a rejected one too (ORDER_REJECTED carries it, 0 where the
  account is unknown); so does the new order of a CANCEL_REPLACE whose old order is found. All else that is refused is
  a COMMAND_REJECTED, with the order id that the command named.
* An order id that was given out and is no longer open is ORDER_FINISHED, whosever it was.
* An administrative number out of range: BAD_AMOUNT for fee rates, decimals, values and limits, BAD_COMBINATION for
  tiers and statuses.
* A market order by quote amount whose rest cannot buy one lot more is FILLED if it traded at all; with FOK it is a
  BAD_COMBINATION. Its `order_lots` are what it traded.
* A notional that leaves 64 bits is above every maximum; without a maximum it is an OVERFLOW, which comes before
  INSUFFICIENT_FUNDS. Price band and notional are checked for orders that carry a price (or an amount).
* AMEND names the new total of lots, filled ones included. REPLACE_IN_PLACE names the lots that shall be open from now
  on, so that the order's total becomes what it has filled and these. Both keep side, type and display. A pending stop
  can be amended (its limit and lots), not replaced in place. An order that goes to the back of the queue reserves with
  the fee rate of now, one that keeps its place with that of its entry.
* CANCEL_ALL goes by instrument, then by order id.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from fauxchange.domain.errors import InvariantViolation, check
from fauxchange.services.exchange.core.apply import run_commands
from fauxchange.services.exchange.core.layout import (
    COMMAND,
    COMMAND_WIDTH,
    EVENT,
    EVENT_MARGIN,
    EVENT_WIDTH,
    H_EVENT_AT,
    H_SEQUENCE,
    H_TS_NS,
    H_WRITTEN,
    STOP_CORRUPT,
    STOP_MEMORY,
    Int64Array,
    Rows,
    words,
)
from fauxchange.services.exchange.core.memory import ROOMY, Rooms, enlarged, moved, rebuild_index, rooms_of
from fauxchange.services.exchange.core.state import State, dump_state, load_state, new_state, state_hash

Function = TypeVar("Function", bound=Callable[..., Any])
Compiler = Callable[[Function], Function]


def interpreted(function: Function) -> Function:
    """Return the function as it is: the kernel then runs as plain Python."""
    return function


class Engine:
    """A state and the kernel that changes it."""

    def __init__(self, *, state: State | None = None, compiler: Callable[[Any], Any] = interpreted) -> None:
        self.state = new_state() if state is None else state
        self.compiler = compiler
        self._run = compiler(run_commands)
        self._rebuild_index = compiler(rebuild_index)

    def apply(self, commands: Rows) -> Rows:
        """Carry out the commands, in their order; return all events, in theirs.

        Raises: InvariantViolation if a sequence number is not the next one or time goes back; commands before it
                have been carried out
        """
        # Copied as words: NumPy would copy rows field by field, and the fields share columns.
        return words(self.written(self.run(commands))).copy().view(EVENT).reshape(-1)

    def run(self, commands: Rows) -> int:
        """Carry out the commands and return how many events that made; `written` gives them until the next run."""
        check(commands.dtype == COMMAND, "commands are of the dtype COMMAND: join arrays of them with `join`")
        rows = words(commands)
        flat = np.ascontiguousarray(rows).reshape(-1)
        self.state.memory[H_WRITTEN] = 0
        stop, done = self._run(self.state.memory, flat, 0)
        while stop == STOP_MEMORY:
            self._move(enlarged(self.state.memory))
            stop, done = self._run(self.state.memory, flat, done)
        if stop == STOP_CORRUPT:
            raise InvariantViolation(self._corrupt(rows, done))
        return int(self.state.memory[H_WRITTEN])

    def written(self, count: int) -> Rows:
        """Return the first `count` events of the last run, which the next run overwrites."""
        memory = self.state.memory
        return memory[memory[H_EVENT_AT] :][: count * EVENT_WIDTH].view(EVENT).reshape(count)

    def reserve_events(self, count: int) -> None:
        """Make room for `count` events of one run ahead of it."""
        rooms = rooms_of(self.state.memory)
        if rooms.events < count + EVENT_MARGIN:
            self._move(replace(rooms, events=count + EVENT_MARGIN))

    def _move(self, rooms: Rooms) -> None:
        self.state.memory = moved(self.state.memory, rooms, self._rebuild_index)

    def state_hash(self) -> str:
        """Return the hash of the state."""
        return state_hash(self.state)

    def _corrupt(self, rows: Int64Array, row: int) -> str:
        header = self.state.memory
        sequence, ts_ns = rows[row, :2].tolist()
        return (
            f"command {sequence} at {ts_ns} ns cannot follow command {header[H_SEQUENCE]} at {header[H_TS_NS]} ns: "
            "sequence numbers are gapless and time never goes back"
        )


def apply(state: State, commands: Rows, *, compiler: Callable[[Any], Any] = interpreted) -> Rows:
    """Carry out `commands` on `state` and return the events; one call's worth of `Engine`."""
    return Engine(state=state, compiler=compiler).apply(commands)


def join(commands: Iterable[Rows]) -> Rows:
    """Join arrays of commands into one; `numpy.concatenate` would tear apart the columns that fields share."""
    rows = [words(command) for command in commands]
    joined = np.concatenate(rows) if rows else np.empty((0, COMMAND_WIDTH), dtype=np.int64)
    return joined.view(COMMAND).reshape(len(joined))


def stamp(commands: Iterable[Rows], *, first_sequence: int, ts_ns: int) -> Rows:
    """Join commands into one array with sequence numbers from `first_sequence` on, all at one time."""
    joined = join(commands)
    joined["sequence"] = np.arange(first_sequence, first_sequence + len(joined))
    joined["ts_ns"] = ts_ns
    return joined


__all__ = [
    "ROOMY",
    "Engine",
    "State",
    "apply",
    "dump_state",
    "interpreted",
    "join",
    "load_state",
    "new_state",
    "stamp",
    "state_hash",
]
