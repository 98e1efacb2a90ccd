"""Markets of a few weeks, made once: one with memory and tails, simulated in steps of a minute."""

from collections.abc import Mapping

import pytest

from fauxchange.domain.times import NS_PER_MINUTE
from fauxchange.realism.bars import Bars
from fauxchange.realism.reference import reference
from fauxchange.realism.report.comparing import Comparison, Similarity, compare, correlate
from fauxchange.realism.simulating import default_instruments, simulate
from fauxchange.services.market_data.core.parameters import default_table

SYMBOLS = ("BTC/USD", "ETH/USD")
Runs = Mapping[str, Mapping[str, Bars]]


@pytest.fixture(scope="session")
def runs() -> Runs:
    """Return two runs of two symbols, of two weeks each."""
    return {
        f"seed {seed}": simulate(
            default_table(), default_instruments(SYMBOLS), weeks=2, seed=seed, step_ns=NS_PER_MINUTE
        )
        for seed in (1, 2)
    }


@pytest.fixture(scope="session")
def comparison(runs: Runs) -> Comparison:
    """Return BTC/USD of these runs against shipped weeks, with the second run in the place of a recording."""
    return compare(
        "BTC/USD",
        {name: series["BTC/USD"] for name, series in runs.items()},
        against=reference("BTC"),
        real=runs["seed 2"]["BTC/USD"],
        real_name='<recorded> & "own".csv',
    )


@pytest.fixture(scope="session")
def similarity(runs: Runs, comparison: Comparison) -> Similarity:
    """Return a report of it with correlations."""
    return Similarity(
        comparisons=(comparison,),
        correlations=correlate(list(runs.values())),
        origin={"model": "lmv-j, <script>alert(1)</script>", "seeds": "1, 2"},
    )
