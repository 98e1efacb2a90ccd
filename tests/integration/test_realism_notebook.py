"""The notebook in the documents: it runs as it stands, and is committed with what it shows."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs/notebooks/market-realism.ipynb"
LONGEST_S = 300
LARGEST_BYTES = 1_000_000


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell: nbformat.NotebookNode) -> list[str]:
    """Return what a cell put out: text, or the kinds of something shown."""
    return sorted({kind for output in cell.outputs for kind in output.get("data", {output.output_type: None})})


def test_the_notebook_is_committed_with_its_outputs_and_small() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)

    nbformat.validate(notebook)
    assert NOTEBOOK.stat().st_size < LARGEST_BYTES
    assert all(kinds(cell) for cell in code_cells(notebook))
    assert [cell.execution_count for cell in code_cells(notebook)] == list(range(1, len(code_cells(notebook)) + 1))
    assert sum("image/png" in kinds(cell) for cell in code_cells(notebook)) >= 6
    told = nbformat.writes(notebook)
    assert "/home/" not in told
    assert "Traceback" not in told


@pytest.mark.data("btc_usdt_perp_1m_2025-05.csv.gz")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_notebook_runs_and_shows_what_it_was_committed_with(
    recorded_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FAUXCHANGE_DATA", str(recorded_data.resolve()))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    committed = nbformat.read(NOTEBOOK, as_version=4)
    notebook = nbformat.read(NOTEBOOK, as_version=4)

    NotebookClient(
        notebook, timeout=LONGEST_S, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()

    assert [kinds(cell) for cell in code_cells(notebook)] == [kinds(cell) for cell in code_cells(committed)]
    # What is only measured, not fitted, is the same on any machine.
    told = [output.text for cell in code_cells(notebook) for output in cell.outputs if output.output_type == "stream"]
    assert told[0] == "43,199 bars of BTC/USDT, 4 whole weeks\n"
    assert told[1].startswith("27 of 27 facts")
    assert "easily told" in told[-1]
