"""The benchmark of the model: its figures are whole."""

from fauxchange.bench.model import run


def test_every_figure_has_a_baseline_and_a_ratio() -> None:
    results = run((2,), repetitions=1)

    figure = results["figures"]["symbols_2"]
    assert set(figure) == {"value", "unit", "baseline", "ratio"}
    assert figure["ratio"] == round(figure["value"] / figure["baseline"], 3) > 0.0
