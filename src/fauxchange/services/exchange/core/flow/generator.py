"""The order flow of several instruments: the law's state, and the commands of one slice of time after another."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from fauxchange.domain.arithmetic import FloatArray, exp
from fauxchange.domain.chance import WordStream
from fauxchange.domain.errors import InvariantViolation, check
from fauxchange.domain.kernels import kernel
from fauxchange.services.exchange.core.engine import interpreted
from fauxchange.services.exchange.core.flow import habits
from fauxchange.services.exchange.core.flow.chance import WORDS, log_normal_table, normal_table, seeds
from fauxchange.services.exchange.core.flow.law import make_slice
from fauxchange.services.exchange.core.flow.layout import (
    CANCEL_WIDTH,
    N_ACTIVE,
    N_ANCHOR_NS,
    N_NUMBER,
    N_RANDOM,
    NUMBERS,
    P_CLOSED,
    P_COUNT,
    P_DAY_LOTS,
    P_DAY_VOLATILITY,
    P_FLED,
    P_LIFE,
    P_PATIENCE,
    P_PLACING,
    P_REACH,
    P_SIZE,
    P_TAKEN,
    P_TAKER_SIZE,
    P_TAKING,
    PARAMETERS,
    R_ACCOUNT,
    R_INSTRUMENT,
    R_KIND,
    R_LOTS,
    R_ORDER_ID,
    R_PRICE,
    R_SIDE,
    R_TS_NS,
    ROW_WIDTH,
    S_AGE,
    S_ANCHOR,
    S_FAST,
    S_PRESSED_FAST,
    S_PRESSED_SLOW,
    S_SLOW,
    STATES,
    W_CANCELS,
)
from fauxchange.services.exchange.core.flow.parameters import (
    BUSY,
    CLASSES,
    SLICE_NS,
    FlowAccounts,
    FlowInstrument,
    Intensity,
)
from fauxchange.services.exchange.core.layout import (
    C_ACCOUNT,
    C_INSTRUMENT,
    C_KIND,
    C_ORDER_ID,
    C_ORDER_LOTS,
    C_ORDER_TYPE,
    C_POST_ONLY,
    C_PRICE_TICKS,
    C_SELF_TRADE_PREVENTION,
    C_SIDE,
    C_TIME_IN_FORCE,
    C_TS_NS,
    COMMAND_WIDTH,
    E_ACCOUNT,
    E_INSTRUMENT,
    E_KIND,
    E_LOTS,
    E_MAKER_ACCOUNT,
    E_SIDE,
    EVENT_WIDTH,
    Int64Array,
)
from fauxchange.services.exchange.core.state import State
from fauxchange.services.exchange.core.vocabulary import (
    COMMAND_CANCEL_ALL,
    COMMAND_PLACE,
    EVENT_TRADE,
    HOUSE_ACCOUNT,
    SIDE_BUY,
    STP_EXPIRE_TAKER,
    TIME_GTC,
    TIME_IOC,
    TYPE_LIMIT,
)

SECONDS_PER_DAY: Final = 86_400.0
SHARES: Final = (0.63, 0.21, 0.08)
"""The parts of the new orders that are near, middle and deep ones; the others are aggressive."""
TAKING_SHARE: Final = 1.0 - sum(SHARES)
COUNTS: Final = (130.0, 160.0, 280.0)
"""Orders of each class that a book at rest has; how long they live follows from it."""
REACHES: Final = (1e-4, 5e-4, 40e-4)
NEAR_LOTS: Final = 1.0 / 3_800.0
"""What near orders have together, as a part of a day's volume."""
MIDDLE_SHARE: Final = 0.6
"""Within their reach middle orders have this part of what the law of the impact asks for; deep ones have all of it."""
DEVIATIONS: Final = (1.5, 2.05)
"""Deviations of the logarithm of the size of resting and of aggressive orders."""
VOLUME_OF_TAKERS: Final = 0.95
"""The part of the volume that comes from aggressive orders; the rest are those who correct prices."""
AHEAD: Final = 512
"""Slices for which words are read at once."""


class OrderFlow:
    """The background traders of some instruments.

    `take_up` comes first: the law reads the books, and its own orders, from the kernel's memory. Each call of
    `commands` expects that what was made before has been carried out.
    """

    def __init__(
        self,
        instruments: Sequence[FlowInstrument],
        accounts: FlowAccounts,
        *,
        seed: int,
        intensity: Intensity = BUSY,
        slice_ns: int = SLICE_NS,
        compiler: Callable[[Any], Any] = interpreted,
    ) -> None:
        check(len({each.number for each in instruments}) == len(instruments), "each instrument has one flow")
        check(slice_ns > 0, "slices take time")
        self.instruments = tuple(instruments)
        self.accounts = accounts
        self.intensity = intensity
        self.slice_ns = slice_ns
        self._rows_of = {each.number: row for row, each in enumerate(instruments)}
        self._state: State | None = None
        self._make_slices = compiler(make_slices)
        self._write_commands = compiler(write_commands)
        self._press = compiler(press)
        self._accounts = np.array(accounts.all, dtype=np.int64)
        self._taker_sizes, self._maker_sizes = log_normal_table(DEVIATIONS[1]), log_normal_table(DEVIATIONS[0])
        self._normal = normal_table()
        self._parameters = np.zeros((len(instruments), PARAMETERS))
        self._states = np.zeros((len(instruments), STATES))
        self._numbers = np.zeros((len(instruments), NUMBERS), dtype=np.int64)
        for row, instrument in enumerate(instruments):
            self._parameters[row] = self._parameters_of(instrument)
            self._states[row, [S_FAST, S_SLOW]] = instrument.day_volatility**2 / SECONDS_PER_DAY
            self._numbers[row, N_NUMBER] = instrument.number
            self._numbers[row, N_ACTIVE] = 1
        room = 1024 + int(20 * intensity.orders_per_s * slice_ns * 1e-9)
        self._rows = np.zeros((len(instruments), room * ROW_WIDTH), dtype=np.int64)
        self._work = np.zeros(W_CANCELS + room // 2 * CANCEL_WIDTH, dtype=np.int64)
        self._flat = np.zeros(len(instruments) * room * ROW_WIDTH, dtype=np.int64)
        self._commands = np.zeros((len(instruments) * room, COMMAND_WIDTH), dtype=np.int64)
        self._streams = [WordStream(seed, each.symbol, "order flow") for each in instruments]
        self._seeds = np.zeros((len(instruments), AHEAD, 2 * WORDS), dtype=np.int64)
        self._seeds_from = -AHEAD

    def _parameters_of(self, instrument: FlowInstrument) -> FloatArray:
        """Return the law's parameters for an instrument."""
        intensity = self.intensity
        day_lots = instrument.day_lots * intensity.volume_share
        p = np.zeros(PARAMETERS)
        orders_per_s = intensity.orders_per_s / habits.MEAN_VOLATILITY
        p[P_TAKING] = TAKING_SHARE * orders_per_s
        maker_mean, taker_mean = (
            _mean_size(self._maker_sizes, habits.MAKER_TAIL),
            _mean_size(self._taker_sizes, habits.TAKER_TAIL),
        )
        law_lots = [2.0 * (reach / instrument.day_volatility / habits.IMPACT) ** 2 for reach in REACHES]
        lots = (NEAR_LOTS, MIDDLE_SHARE * law_lots[habits.MIDDLE], law_lots[habits.DEEP])
        for kind in range(CLASSES):
            p[P_PLACING + kind] = SHARES[kind] * orders_per_s
            p[P_COUNT + kind] = COUNTS[kind]
            p[P_LIFE + kind] = p[P_PLACING + kind] / COUNTS[kind]
            p[P_REACH + kind] = REACHES[kind]
            p[P_SIZE + kind] = lots[kind] * day_lots / COUNTS[kind] / maker_mean
        p[P_TAKER_SIZE] = (
            VOLUME_OF_TAKERS * day_lots / SECONDS_PER_DAY / (TAKING_SHARE * intensity.orders_per_s) / taker_mean
        )
        p[P_DAY_LOTS] = day_lots
        p[P_DAY_VOLATILITY] = instrument.day_volatility
        p[P_TAKEN], p[P_CLOSED], p[P_FLED] = 1 / intensity.taking_s, 1 / intensity.closing_s, 1 / intensity.fleeing_s
        p[P_PATIENCE] = intensity.patience
        return p

    # What the flow hears

    def take_up(self, state: State) -> None:
        """Go on with a kernel's state: its books and the flow's own orders in it are where they stand."""
        self._state = state

    def set_active(self, instrument: int, is_active: bool) -> None:
        """Let an instrument's traders act, or not."""
        self._numbers[self._rows_of[instrument], N_ACTIVE] = is_active

    def anchor(self, instrument: int, bid_ticks: int, ask_ticks: int, ts_ns: int) -> None:
        """Take note of the newest market-data price of an instrument; one that is older than the newest is left out.

        Units: in the instrument's ticks
        """
        row = self._rows_of[instrument]
        s, n = self._states[row], self._numbers[row]
        middle = (bid_ticks + ask_ticks) / 2
        elapsed_s = (ts_ns - int(n[N_ANCHOR_NS])) * 1e-9
        if s[S_ANCHOR] != 0.0:
            if elapsed_s < 0.0:
                return
            if elapsed_s > 0.0:
                self._learn_volatility(row, (middle - s[S_ANCHOR]) / s[S_ANCHOR], elapsed_s)
        s[S_ANCHOR] = middle
        n[N_ANCHOR_NS] = ts_ns

    def _learn_volatility(self, row: int, moved: float, elapsed_s: float) -> None:
        """Take the change of an anchor into its variances, the fast one and the slow one."""
        s = self._states[row]
        usual = self.instruments[row].day_volatility ** 2 / SECONDS_PER_DAY
        # One leap says little of what is usual: a step to another price, as where a recording begins anew.
        seen = min(moved * moved / elapsed_s, habits.LEAP * s[S_SLOW])
        s[S_AGE] += elapsed_s
        slow_s = min(habits.SLOW_S, habits.STARTING_S + s[S_AGE])
        for which, memory_s in ((S_FAST, habits.FAST_S), (S_SLOW, slow_s)):
            kept = exp(-elapsed_s / memory_s)
            # A price that stands still has a volatility all the same: what divides by it goes on.
            s[which] = max(kept * s[which] + (1 - kept) * seen, usual * habits.STILL)

    def heard(self, commands: Int64Array, events: Int64Array) -> None:  # noqa: ARG002 - told as it is carried out
        """Take note of a batch that was carried out: what other people have bought and sold moves the price.

        Shapes: commands (n, COMMAND_WIDTH), events (n, EVENT_WIDTH)
        """
        if len(events):
            self._press(np.ascontiguousarray(events).reshape(-1), self._states, self._numbers, self._accounts)

    # What the flow does

    def commands(self, from_ns: int, to_ns: int) -> Int64Array:
        """Return the commands of the time after `from_ns` up to `to_ns`, without sequence numbers.

        Shapes: result (n, COMMAND_WIDTH), C-contiguous, valid until the next call
        Ensures: times rise within the slice
        """
        if self._state is None:
            raise InvariantViolation("the flow takes up a state before it makes commands")
        check(from_ns < to_ns, "a slice has a length")
        self._seed(from_ns // self.slice_ns)
        count = self._make_slices(
            self._state.memory,
            self._parameters,
            self._states,
            self._numbers,
            self._work,
            self._rows,
            self._flat,
            self._accounts,
            self._taker_sizes,
            self._maker_sizes,
            self._normal,
            from_ns,
            to_ns,
        )
        if count == 0:
            return self._commands[:0]
        order = np.argsort(self._flat[: count * ROW_WIDTH : ROW_WIDTH], kind="stable")
        self._write_commands(self._flat, order, self._commands, self._accounts)
        return self._commands[:count]

    def pull(self, instrument: int | None = None) -> Int64Array:
        """Return commands that cancel all that the flow has in an instrument, or in all; they carry no time."""
        numbers = [each.number for each in self.instruments] if instrument is None else [instrument]
        rows = np.zeros((len(numbers) * CLASSES, COMMAND_WIDTH), dtype=np.int64)
        rows[:, C_KIND] = COMMAND_CANCEL_ALL
        rows[:, C_ACCOUNT] = list(self.accounts.makers) * len(numbers)
        rows[:, C_INSTRUMENT] = np.repeat(numbers, CLASSES)
        return rows

    def _seed(self, index: int) -> None:
        """Give each instrument the seeds of a slice."""
        at = index - self._seeds_from
        if not 0 <= at < AHEAD:
            for row, stream in enumerate(self._streams):
                words = stream.words(index * WORDS, AHEAD * WORDS).reshape(AHEAD, WORDS)
                self._seeds[row] = seeds(words)
            self._seeds_from, at = index, 0
        self._numbers[:, N_RANDOM : N_RANDOM + 2 * WORDS] = self._seeds[:, at]


def _mean_size(sizes: FloatArray, tail: float) -> float:
    """Return the mean that `traders.draw_lots` gives for scale 1."""
    body = float((sizes[1:] + sizes[:-1]).mean() / 2)
    power = habits.TAIL_EXPONENT
    reached = (power - tail ** (1 - power)) / (power - 1)
    begins = float(sizes[len(sizes) - 1 - (len(sizes) - 1) // 20])
    return float((1 - habits.TAIL_SHARE) * body + habits.TAIL_SHARE * begins * reached)


@kernel
def make_slices(
    m: Int64Array,
    parameters: FloatArray,
    states: FloatArray,
    numbers: Int64Array,
    work: Int64Array,
    rows: Int64Array,
    flat: Int64Array,
    accounts: Int64Array,
    taker_sizes: FloatArray,
    maker_sizes: FloatArray,
    normal: FloatArray,
    from_ns: int,
    to_ns: int,
) -> int:
    """Make the rows of all instruments, one instrument behind the other in `flat`; return how many."""
    total = 0
    for row in range(len(numbers)):
        if numbers[row, N_ACTIVE] == 0 or states[row, S_ANCHOR] == 0.0:
            continue
        count = make_slice(
            m,
            parameters[row],
            states[row],
            numbers[row],
            work,
            rows[row],
            accounts,
            taker_sizes,
            maker_sizes,
            normal,
            from_ns,
            to_ns,
        )
        for word in range(count * ROW_WIDTH):
            flat[total * ROW_WIDTH + word] = rows[row, word]
        total += count
    return total


@kernel
def write_commands(flat: Int64Array, order: Int64Array, commands: Int64Array, accounts: Int64Array) -> None:
    """Write the rows as commands, in the order given.

    Shapes: flat (n * ROW_WIDTH,), commands (n, COMMAND_WIDTH)
    """
    for to in range(len(order)):
        at = order[to] * ROW_WIDTH
        for column in range(COMMAND_WIDTH):
            commands[to, column] = 0
        commands[to, C_TS_NS] = flat[at + R_TS_NS]
        commands[to, C_KIND] = flat[at + R_KIND]
        commands[to, C_ACCOUNT] = flat[at + R_ACCOUNT]
        commands[to, C_INSTRUMENT] = flat[at + R_INSTRUMENT]
        commands[to, C_ORDER_ID] = flat[at + R_ORDER_ID]
        if flat[at + R_KIND] == COMMAND_PLACE:
            rests = 0
            for kind in range(CLASSES):
                if flat[at + R_ACCOUNT] == accounts[kind]:
                    rests = 1
            commands[to, C_SIDE] = flat[at + R_SIDE]
            commands[to, C_ORDER_TYPE] = TYPE_LIMIT
            commands[to, C_TIME_IN_FORCE] = TIME_GTC if rests == 1 else TIME_IOC
            commands[to, C_POST_ONLY] = rests
            commands[to, C_SELF_TRADE_PREVENTION] = STP_EXPIRE_TAKER
            commands[to, C_PRICE_TICKS] = flat[at + R_PRICE]
            commands[to, C_ORDER_LOTS] = flat[at + R_LOTS]


@kernel
def press(events: Int64Array, states: FloatArray, numbers: Int64Array, accounts: Int64Array) -> None:
    """Add what others than the flow have bought to what presses on the price, and take off what they have sold."""
    for at in range(0, len(events), EVENT_WIDTH):
        if events[at + E_KIND] != EVENT_TRADE:
            continue
        # The house only follows the price, whoever trades with it.
        if events[at + E_ACCOUNT] == HOUSE_ACCOUNT or events[at + E_MAKER_ACCOUNT] == HOUSE_ACCOUNT:
            continue
        lots = events[at + E_LOTS]
        if events[at + E_SIDE] != SIDE_BUY:
            lots = -lots
        foreign = 1
        own_maker = 0
        for account in accounts:
            if events[at + E_ACCOUNT] == account:
                foreign = 0
            if events[at + E_MAKER_ACCOUNT] == account:
                own_maker = 1
        # Who rests and is hit has sold as much as he who comes and sells; two strangers move nobody's mind.
        pressed = foreign * lots if own_maker == 1 else -(1 - foreign) * lots
        if pressed != 0:
            for row in range(len(numbers)):
                if numbers[row, N_NUMBER] == events[at + E_INSTRUMENT]:
                    states[row, S_PRESSED_FAST] += pressed
                    states[row, S_PRESSED_SLOW] += pressed
