"""LMV-J: log volatility of many time scales, trend feedback, jumps, an hourly profile and one market factor.

Per symbol and step of length dt (minutes):

    Y  = sum_k X_k + z ln(1 + min(T^2, C)), at most L          X_k = sqrt(w_k) x_k
    v  = exp(Y / 2)                                            how many times calmer or wilder than usual
    u  = v (e + J / sqrt(dt))                                  e standard normal, J a jump or 0
    p += mu dt + sigma s(hour) sqrt(dt) u                      log price
    T  = q T + sqrt(1 - q^2) u                                 trend
    x_k = phi_k x_k + sqrt(1 - phi_k^2) (rho e + sqrt(1 - rho^2) g_k)

`e` loads on the market's return and each `g_k` on the market's volatility; both stay standard normal, so the law of a
symbol does not depend on how it is tied to the others. Scenarios enter as a drift of p (which T feels as it feels
any move), a term on Y after its cap, a lower market loading and a pull.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fauxchange.domain.arithmetic import (
    FloatArray,
    WordArray,
    centred_units,
    exp,
    exp_each,
    log,
    log_each,
    normals,
)
from fauxchange.domain.chance import WordStream
from fauxchange.domain.kernels import kernel
from fauxchange.domain.times import NS_PER_MINUTE
from fauxchange.services.market_data.core.batches import Int64Array
from fauxchange.services.market_data.core.models import (
    LOG_PRICE,
    Bend,
    KernelCompiler,
    Priced,
    SteppingModel,
    SymbolRows,
    interpreted,
    last_at,
    to_half_ticks,
)
from fauxchange.services.market_data.core.parameters import COMMON_JUMP_SHARE, FACTORS, HOURS, LmvParameters, LmvTable

# Places in a symbol's state, after LOG_PRICE.
TREND = 1
MINUTE_RETURN = 2
MINUTE_VARIANCE = 3
MINUTE_NOISE = 4
LOTS_CARRY = 5
FACTOR = 6
VOLUME_FACTOR = FACTOR + FACTORS
STATE_SIZE = VOLUME_FACTOR + FACTORS

# Words per symbol and step, and the same for the market where it has such a stream.
PRICE_WORDS = 1 + FACTORS
JUMP_WORDS = 2
VOLUME_WORDS = FACTORS + 1
WORDS_PER_STEP = PRICE_WORDS + JUMP_WORDS + VOLUME_WORDS

MOST_LOTS = 1e15
LARGEST_JUMP_PROBABILITY = 0.5
LARGEST_SURPRISE = 6.0
USUAL_SURPRISE = 0.8
_NS_PER_HOUR = 60 * NS_PER_MINUTE


class PriceLaw(NamedTuple):
    """The numbers of one symbol's returns at one step length. Shapes: arrays (FACTORS,)."""

    drift: float
    scale: float
    inverse_root_dt: float
    market_loading: float
    volatility_loading: float
    leverage: float
    factor_decay: FloatArray
    factor_gain: FloatArray
    trend_decay: float
    trend_gain: float
    feedback: float
    trend_cap: float
    log_variance_cap: float
    jump_probability: float
    jump_scale: float
    common_jumps: float


class VolumeLaw(NamedTuple):
    """The numbers of one symbol's volume at one step length. Shapes: arrays (FACTORS,). Units: level in ln lots."""

    level: float
    power: float
    effect: float
    noise: float
    factor_decay: FloatArray
    factor_gain: FloatArray


class LmvLaw(NamedTuple):
    """All that the steps of one symbol need to know; seasons are by UTC hour, that of volume in logarithms."""

    price: PriceLaw
    volume: VolumeLaw
    season: FloatArray
    log_volume_season: FloatArray
    initial_half_ticks: float


class Market(NamedTuple):
    """What all symbols share in a block.

    Shapes: normals (steps, PRICE_WORDS), jumps (steps, JUMP_WORDS), others (steps,)
    """

    normals: FloatArray
    jumps: FloatArray
    minute_starts: Int64Array
    hours: Int64Array


class Words(NamedTuple):
    """One symbol's words for a block. Shapes: (steps * words per step,)."""

    price: WordArray
    jumps: WordArray
    volume: WordArray


class Path(NamedTuple):
    """What the steps of a block came to.

    Shapes: (steps,)
    Units:  log_prices over the initial price; moves in log price; pushes in sigma; volatility relative to the usual
    """

    log_prices: FloatArray
    moves: FloatArray
    pushes: FloatArray
    log_variances: FloatArray
    volatilities: FloatArray


@kernel
def step_symbol(law: LmvLaw, state: FloatArray, market: Market, words: Words, bend: Bend, rows: SymbolRows) -> None:
    """Take one symbol through a block of steps."""
    steps = len(rows.mids)
    own = normals(words.price).reshape(steps, PRICE_WORDS)
    jumps = centred_units(words.jumps).reshape(steps, JUMP_WORDS)
    path = step_prices(law.price, state, law.season[market.hours], market, own, jumps, bend)
    noise = normals(words.volume).reshape(steps, VOLUME_WORDS)
    log_lots = step_volumes(law.volume, state, law.log_volume_season[market.hours], market, noise, path)
    fill_rows(law.initial_half_ticks, state, exp_each(path.log_prices), exp_each(log_lots), path.moves, rows)


@kernel
def step_prices(
    law: PriceLaw,
    state: FloatArray,
    season: FloatArray,
    market: Market,
    own: FloatArray,
    own_jumps: FloatArray,
    bend: Bend,
) -> Path:
    """Take the price, the trend and the volatility of a symbol through a block."""
    steps = len(season)
    path = Path(np.empty(steps), np.empty(steps), np.empty(steps), np.empty(steps), np.empty(steps))
    bent = len(bend.drift) > 0
    coupling = bend.coupling if bent else np.ones(steps)
    loading = law.market_loading * coupling
    shocks = loading * market.normals[:, 0] + np.sqrt(1.0 - loading * loading) * own[:, 0]
    noise = factor_noise(law, shocks, market.normals, own)
    log_price, trend = float(state[LOG_PRICE]), float(state[TREND])
    factors = sum_of(state, FACTOR)
    for step in range(steps):
        log_variance = factors + law.feedback * log(1.0 + min(trend * trend, law.trend_cap))
        log_variance = min(log_variance, law.log_variance_cap)
        if bent:
            log_variance += float(bend.log_variance[step])
        volatility = exp(0.5 * log_variance)
        jump = jump_size(
            law.jump_probability,
            law.common_jumps * float(coupling[step]),
            float(loading[step]),
            float(market.jumps[step, 0]),
            float(market.jumps[step, 1]),
            float(own_jumps[step, 0]),
            float(own_jumps[step, 1]),
        )
        push = volatility * (float(shocks[step]) + law.jump_scale * jump * law.inverse_root_dt)
        scale = law.scale * float(season[step])
        move = law.drift + scale * push
        if bent:
            forced = float(bend.drift[step]) + float(bend.pull[step]) * (float(bend.anchor[step]) - log_price)
            move += forced
            push += forced / scale
        log_price += move
        trend = law.trend_decay * trend + law.trend_gain * push
        factors = relax(state, FACTOR, law.factor_decay, noise, step)
        path.log_prices[step] = log_price
        path.moves[step] = move
        path.pushes[step] = push
        path.log_variances[step] = log_variance
        path.volatilities[step] = volatility
    state[LOG_PRICE] = log_price
    state[TREND] = trend
    return path


@kernel
def factor_noise(law: PriceLaw, shocks: FloatArray, market: FloatArray, own: FloatArray) -> FloatArray:
    """Return by how much each step pushes each volatility factor. Shapes: result (steps, FACTORS)."""
    noise = np.empty((len(shocks), FACTORS))
    common, alone = law.volatility_loading, math.sqrt(1.0 - law.volatility_loading * law.volatility_loading)
    lead, rest = law.leverage, math.sqrt(1.0 - law.leverage * law.leverage)
    for k in range(FACTORS):
        mixed = common * market[:, 1 + k] + alone * own[:, 1 + k]
        noise[:, k] = law.factor_gain[k] * (lead * shocks + rest * mixed)
    return noise


@kernel
def relax(state: FloatArray, first: int, decay: FloatArray, noise: FloatArray, step: int) -> float:
    """Take the factors that begin at `first` of the state through one step, and return their sum."""
    total = 0.0
    for k in range(FACTORS):
        factor = float(decay[k]) * float(state[first + k]) + float(noise[step, k])
        state[first + k] = factor
        total += factor
    return total


@kernel
def sum_of(state: FloatArray, first: int) -> float:
    """Return the sum of the factors that begin at `first` of the state."""
    total = 0.0
    for k in range(FACTORS):
        total += float(state[first + k])
    return total


@kernel
def jump_size(
    probability: float,
    common_share: float,
    loading: float,
    market_trigger: float,
    market_size: float,
    own_trigger: float,
    own_size: float,
) -> float:
    """Return the jump of a step: standard Laplace with the given probability, else 0.

    A share of the jumps comes when the market jumps, in its direction. The size of such a jump is that of the market
    times the loading, plus an own exponential size with the probability that keeps the sum exponential: so the law
    of a symbol's jumps is the same whatever the loading.

    Units:  triggers and sizes are centred uniforms
    Source: Gaver and Lewis (1980), First-order autoregressive gamma sequences and point processes, section 2
    """
    common = probability * common_share
    chance = own_trigger + 0.5
    if market_trigger + 0.5 < common:
        size = loading * laplace_size(market_size)
        if chance >= loading:
            size += laplace_size(own_size)
        return size if market_size > 0.0 else -size
    if chance * (1.0 - common) < probability - common:
        size = laplace_size(own_size)
        return size if own_size > 0.0 else -size
    return 0.0


@kernel
def laplace_size(centred: float) -> float:
    """Return the absolute value of the standard Laplace quantile at probability 1/2 + centred."""
    return -log(1.0 - 2.0 * abs(centred))


@kernel
def step_volumes(
    law: VolumeLaw, state: FloatArray, log_season: FloatArray, market: Market, noise: FloatArray, path: Path
) -> FloatArray:
    """Take the volume of a symbol through a block, and return the logarithm of the lots of each step.

    The size of the return counts from the start of the minute, in units of its volatility, and the white noise is
    taken up where a minute begins: so steps of one minute are the model as it was calibrated, and shorter ones
    agree with it over the minute.
    """
    steps = len(log_season)
    log_lots = np.empty(steps)
    shocks = np.empty((steps, FACTORS))
    for k in range(FACTORS):
        shocks[:, k] = law.factor_gain[k] * noise[:, 1 + k]
    total, variance, white = float(state[MINUTE_RETURN]), float(state[MINUTE_VARIANCE]), float(state[MINUTE_NOISE])
    for step in range(steps):
        if market.minute_starts[step] == 1:
            total, variance, white = 0.0, 0.0, law.noise * float(noise[step, 0])
        volatility = float(path.volatilities[step])
        total += float(path.pushes[step])
        variance += volatility * volatility
        surprise = min(abs(total) / math.sqrt(variance), LARGEST_SURPRISE) - USUAL_SURPRISE
        factors = relax(state, VOLUME_FACTOR, law.factor_decay, shocks, step)
        level = law.level + float(log_season[step]) + law.power * (0.5 * float(path.log_variances[step]))
        log_lots[step] = level + law.effect * surprise + factors + white
    state[MINUTE_RETURN], state[MINUTE_VARIANCE], state[MINUTE_NOISE] = total, variance, white
    return log_lots


@kernel
def fill_rows(
    initial_half_ticks: float,
    state: FloatArray,
    prices: FloatArray,
    lots: FloatArray,
    moves: FloatArray,
    rows: SymbolRows,
) -> None:
    """Put a block's prices (relative to the initial one) and lots on their grids.

    What is left of a lot is carried to the next step, so that volume is kept however short the steps.
    """
    carry = float(state[LOTS_CARRY])
    for step in range(len(moves)):
        amount = min(carry + float(lots[step]), MOST_LOTS)
        whole = int(amount)
        carry = amount - whole
        mid = to_half_ticks(float(prices[step]) * initial_half_ticks)
        rows.mids[step] = mid
        rows.lots[step] = whole
        rows.lasts[step] = last_at(mid, whole, float(moves[step]))
    state[LOTS_CARRY] = carry


def law_of(priced: Priced, parameters: LmvParameters, table: LmvTable, interval_ns: int) -> LmvLaw:
    """Return the law of one symbol at one step length."""
    dt = interval_ns / NS_PER_MINUTE
    decay = np.array([exp(-dt / minutes) for minutes in table.factor_minutes])
    rest = np.sqrt(1.0 - decay * decay)
    trend_decay = exp(-dt / table.trend_minutes)
    volume = parameters.volume
    lots_per_unit = 1.0 / float(priced.instrument.lot_size)
    return LmvLaw(
        price=PriceLaw(
            drift=parameters.drift * dt,
            scale=parameters.sigma * priced.volatility * math.sqrt(dt),
            inverse_root_dt=1.0 / math.sqrt(dt),
            market_loading=parameters.market_loading,
            volatility_loading=parameters.volatility_loading,
            leverage=parameters.leverage,
            factor_decay=decay,
            factor_gain=np.sqrt(np.array(parameters.weights)) * rest,
            trend_decay=trend_decay,
            trend_gain=math.sqrt(1.0 - trend_decay * trend_decay),
            feedback=table.feedback,
            trend_cap=table.trend_cap,
            log_variance_cap=table.log_variance_cap,
            jump_probability=min(parameters.jump_rate * dt, LARGEST_JUMP_PROBABILITY),
            jump_scale=parameters.jump_scale,
            common_jumps=COMMON_JUMP_SHARE,
        ),
        volume=VolumeLaw(
            level=volume.level - volume.volatility_power * volume.mean_log_volatility + log(dt * lots_per_unit),
            power=volume.volatility_power,
            effect=volume.return_effect,
            noise=math.sqrt(volume.noise),
            factor_decay=decay,
            factor_gain=np.sqrt(np.array(volume.weights)) * rest,
        ),
        season=np.array(parameters.season),
        log_volume_season=log_each(np.array(volume.season)),
        initial_half_ticks=priced.half_ticks,
    )


class _Streams(NamedTuple):
    price: WordStream
    jumps: WordStream
    volume: WordStream


class LmvJ(SteppingModel):
    """LMV-J for some symbols at one step length, each with the parameters of its base asset."""

    name = "lmv-j"

    def __init__(
        self,
        *,
        priced: Sequence[Priced],
        seed: int,
        interval_ns: int,
        table: LmvTable,
        compiler: KernelCompiler = interpreted,
    ) -> None:
        self._table = table
        self._step = compiler(step_symbol)
        self._normals = compiler(normals)
        parameters = [table.of(each.instrument.symbol) for each in priced]
        self._laws = [law_of(each, values, table, interval_ns) for each, values in zip(priced, parameters, strict=True)]
        self._streams = [
            _Streams(*(WordStream(seed, "symbol", each.instrument.symbol, purpose) for purpose in _Streams._fields))
            for each in priced
        ]
        self._market_price = WordStream(seed, "market", "price")
        self._market_jumps = WordStream(seed, "market", "jumps")
        self._by_symbol = {
            each.instrument.symbol: (each, values) for each, values in zip(priced, parameters, strict=True)
        }
        super().__init__(priced=priced, seed=seed, interval_ns=interval_ns)

    def identity(self, symbol: str) -> str:
        """Return a hash of the parameters, with the grids and the initial price."""
        priced, parameters = self._by_symbol[symbol]
        instrument = priced.instrument
        grids = f"{instrument.tick_size}:{instrument.lot_size}:{priced.initial_price.hex()}"
        return f"{self._table.digest(parameters)}:{grids}"

    def fresh_state(self, symbol: str) -> FloatArray:
        """Return a state in which volatility and volume are drawn from where they usually are."""
        _, parameters = self._by_symbol[symbol]
        common = normals(WordStream(self._seed, "market", "initial").words(0, FACTORS))
        own = normals(WordStream(self._seed, "symbol", symbol, "initial").words(0, 2 * FACTORS))
        gamma = parameters.volatility_loading
        state = np.zeros(STATE_SIZE)
        state[FACTOR : FACTOR + FACTORS] = np.sqrt(np.array(parameters.weights)) * (
            gamma * common + math.sqrt(1.0 - gamma * gamma) * own[:FACTORS]
        )
        state[VOLUME_FACTOR:] = np.sqrt(np.array(parameters.volume.weights)) * own[FACTORS:]
        return state

    def carried(self, symbol: str, values: FloatArray, before: LmvTable) -> FloatArray:
        """Return a state whose factors are as far from usual under the new weights as they were under the old ones.

        A factor that had no weight begins where it usually is.
        """
        old, new = before.of(symbol), self._table.of(symbol)
        changed = values.copy()
        for first, weights in (
            (FACTOR, (old.weights, new.weights)),
            (VOLUME_FACTOR, (old.volume.weights, new.volume.weights)),
        ):
            for k, (was, is_now) in enumerate(zip(*weights, strict=True)):
                if was != is_now:
                    changed[first + k] *= math.sqrt(is_now / was) if was > 0.0 else 0.0
        return changed

    def market(self, ts_ns: Int64Array) -> Market:
        """Return the market's noise of a block, and where its hours and minutes begin."""
        steps = len(ts_ns)
        price = self._market_price.words(self._position * PRICE_WORDS, steps * PRICE_WORDS)
        jumps = self._market_jumps.words(self._position * JUMP_WORDS, steps * JUMP_WORDS)
        # A step ends at its time, so it belongs to the minute and the hour of the moment just before that.
        before_ns = np.empty(steps, np.int64)
        before_ns[0] = self.before_ns(ts_ns)
        before_ns[1:] = ts_ns[:-1]
        starts = (ts_ns - 1) // NS_PER_MINUTE != (before_ns - 1) // NS_PER_MINUTE
        return Market(
            normals=self._normals(price).reshape(steps, PRICE_WORDS),
            jumps=centred_units(jumps).reshape(steps, JUMP_WORDS),
            minute_starts=starts.astype(np.int64),
            hours=(ts_ns - 1) // _NS_PER_HOUR % HOURS,
        )

    def step_symbol(self, index: int, state: FloatArray, market: Market, bend: Bend, rows: SymbolRows) -> None:
        """Step one symbol through the block."""
        steps, position, streams = len(rows.mids), self._position, self._streams[index]
        words = Words(
            streams.price.words(position * PRICE_WORDS, steps * PRICE_WORDS),
            streams.jumps.words(position * JUMP_WORDS, steps * JUMP_WORDS),
            streams.volume.words(position * VOLUME_WORDS, steps * VOLUME_WORDS),
        )
        self._step(self._laws[index], state, market, words, bend, rows)
