"""Compile every kernel ahead of time, so that the first start finds its machine code on disk."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from fauxchange.domain.errors import ConfigurationError
from fauxchange.platform.compiler import cache_folder, compile_kernel, numba_available
from fauxchange.platform.settings import Settings
from fauxchange.services.exchange.core.apply import run_commands
from fauxchange.services.exchange.core.engine import Engine
from fauxchange.services.exchange.core.layout import COMMAND
from fauxchange.services.exchange.core.state import dump_state, load_state, new_state
from fauxchange.services.exchange.service.flow import warm_up as warm_up_flow
from fauxchange.services.market_data.app import read_config
from fauxchange.services.market_data.app.model import model_source


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmed:
    """What is compiled now. Units: seconds that it took, next to none where the cache had it."""

    what: str
    seconds: float


KERNELS = ("the price model", "the exchange", "the order flow")
"""What is compiled, in this order."""


def warm_up(settings: Settings) -> Iterator[Warmed]:
    """Compile the kernels one after the other, each when the next one is asked for.

    Raises: ConfigurationError where nothing can be compiled, or kept
    """
    if not numba_available():
        raise ConfigurationError("nothing can be compiled: Numba is not installed, or NUMBA_DISABLE_JIT is set")
    if cache_folder(run_commands) is None:
        raise ConfigurationError("there is no home folder to keep compiled kernels in; set XDG_CACHE_HOME")
    for what, compile_it in zip(KERNELS, (_warm_model, _warm_exchange, _warm_flow), strict=True):
        begun = time.monotonic()
        compile_it(settings)
        yield Warmed(what=what, seconds=time.monotonic() - begun)


def _warm_model(settings: Settings) -> None:
    config = replace(read_config(settings), model_engine="compiled")
    asyncio.run(model_source(config, [config.instrument(config.symbols[0])]))


def _warm_exchange(_settings: Settings) -> None:
    engine = Engine(state=new_state(), compiler=compile_kernel)
    engine.run(np.zeros(0, dtype=COMMAND))
    # What runs when the memory grows, and what runs when a snapshot is read back.
    engine.reserve_events(1_000_000)
    load_state(dump_state(engine.state), compiler=compile_kernel)


def _warm_flow(_settings: Settings) -> None:
    warm_up_flow(compile_kernel)
