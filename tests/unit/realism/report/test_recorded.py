"""What is shipped of recorded months: it is theirs, and good enough to measure by."""

from pathlib import Path

import numpy as np
import pytest

from fauxchange.realism.distances import distances, shape_from
from fauxchange.realism.recorded import bars_of_file
from fauxchange.realism.report.recorded import month_document, recorded_month

BASES = ("BTC", "ETH", "SOL", "ADA")
FILES = {base: f"{base.lower()}_usdt_perp_1m_2025-05.csv.gz" for base in BASES}


@pytest.mark.parametrize("base", BASES)
def test_shipped_curves_are_those_of_a_real_month(base: str) -> None:
    month = recorded_month(base)

    assert month is not None
    assert month.curves.weeks == 4
    assert month.bars in {43_199, 43_200}
    # Memory that outlasts an hour, and tails of which a normal distribution knows nothing.
    lag_60 = int(np.argmin(np.abs(month.curves.acf_abs.x - 60.0)))
    assert 0.05 < month.curves.acf_abs.median[lag_60] < 0.2
    assert month.curves.tail_width.median[0] > 0.1


def test_nothing_is_shipped_of_what_was_not_recorded() -> None:
    assert recorded_month("DOGE") is None


@pytest.mark.data(*FILES.values())
@pytest.mark.parametrize("base", BASES)
def test_what_is_shipped_was_made_of_the_recorded_files(base: str, recorded_data: Path) -> None:
    made = month_document(f"real ({base}/USDT, May 2025)", bars_of_file(recorded_data / FILES[base]))
    month = recorded_month(base)

    assert month is not None
    assert month.curves.label == made["curves"]["label"]
    assert month.bars == made["bars"]
    assert month.curves.acf_abs.median.tolist() == pytest.approx(made["curves"]["acf_abs"]["median"], abs=1e-4)
    assert max(distances(month.shape, shape_from(made["shape"])).values()) < 1e-4
