import numpy as np
import pytest
from realism_kit import bars_of_returns, without_rows

from fauxchange.domain.errors import InvariantViolation
from fauxchange.domain.times import NS_PER_MINUTE
from fauxchange.realism.bars import Bars

RISING = bars_of_returns([0.01] * 9, volume=np.arange(10.0))


def test_columns_of_one_length_are_bars() -> None:
    with pytest.raises(InvariantViolation):
        Bars(
            symbol="BTC/USD",
            interval_ns=NS_PER_MINUTE,
            open_ns=np.arange(3),
            open=np.ones(3),
            high=np.ones(3),
            low=np.ones(2),
            close=np.ones(3),
        )


def test_runs_end_at_gaps_and_windows_keep_within_them() -> None:
    bars = without_rows(RISING, 4, 5)

    runs = [run.volume.tolist() for run in bars.runs() if run.volume is not None]
    windows = [window.volume.tolist() for window in bars.windows(2) if window.volume is not None]

    assert runs == [[0.0, 1.0, 2.0, 3.0], [5.0, 6.0, 7.0, 8.0, 9.0]]
    # Two returns are three bars; the bar at the end of a window is the first of the next.
    assert windows == [[0.0, 1.0, 2.0], [5.0, 6.0, 7.0], [7.0, 8.0, 9.0]]


def test_gathered_bars_hold_the_bars_that_begin_in_them() -> None:
    gathered = RISING.part(1, 10).gathered(5 * NS_PER_MINUTE)

    assert gathered.open_ns.tolist() == [0, 5 * NS_PER_MINUTE]
    assert gathered.open.tolist() == [RISING.open[1], RISING.open[5]]
    assert gathered.close.tolist() == [RISING.close[4], RISING.close[9]]
    assert gathered.high.tolist() == [RISING.high[1:5].max(), RISING.high[5:].max()]
    assert gathered.low.tolist() == [RISING.low[1:5].min(), RISING.low[5:].min()]
    assert gathered.volume is not None
    assert gathered.volume.tolist() == [10.0, 35.0]


def test_short_gaps_are_filled_with_the_last_close_and_long_ones_stay() -> None:
    bars = without_rows(without_rows(RISING, 6, 9), 2, 3)

    carried = bars.carried(2)

    assert (carried.open_ns // NS_PER_MINUTE).tolist() == [0, 1, 2, 3, 4, 5, 9]
    assert carried.open[2] == carried.high[2] == carried.low[2] == carried.close[2] == bars.close[1]
    assert carried.volume is not None
    assert carried.volume.tolist() == [0.0, 1.0, 0.0, 3.0, 4.0, 5.0, 9.0]
    assert len(RISING.carried(2)) == len(RISING)


def test_no_bars_make_no_bars() -> None:
    none = RISING.part(0, 0)

    assert list(none.runs()) == []
    assert list(none.windows(1)) == []
    assert len(none.gathered(5 * NS_PER_MINUTE)) == len(none.carried(3)) == 0
