"""Make the parts of the documentation that the code knows best.

    .venv/bin/python docs/generate.py configuration    writes docs/configuration.md
    .venv/bin/python docs/generate.py picture          writes docs/images/prices.svg, from a server it starts
    .venv/bin/python docs/generate.py scenarios        writes docs/images/scenario-*.svg, of scenarios/market
    .venv/bin/python docs/generate.py similarity       writes docs/images/similarity-btc.svg, with the same data
    .venv/bin/python docs/generate.py notebook         executes the notebook, with the data in FAUXCHANGE_DATA
    .venv/bin/python docs/generate.py months           writes what is shipped of the recorded months in FAUXCHANGE_DATA

A test compares the former with the settings as they are declared.
"""

import asyncio
import json
import os
import re
import sys
import tempfile
import time
from io import StringIO
from itertools import groupby
from pathlib import Path

from rich.console import Console

from fauxchange.cli.prices import Board
from fauxchange.platform.settings import DocumentedSetting, documented_settings
from fauxchange.testing import StreamClient, started

FOLDER = Path(__file__).parent
MONTHS = FOLDER.parent / "src/fauxchange/realism/data/recorded-months.json"
NOTEBOOK = FOLDER / "notebooks/market-realism.ipynb"
NOTEBOOK_S = 600
PICTURE_SETTINGS = {
    "SEED": "7",
    "SPEED": "20",
    "START_TIME": "2026-01-31T12:00:00Z",
    "PRICE_UPDATE_INTERVAL": "2s",
    "STORE": "memory",
}
WATCHED_S = 7.0

HEAD = """\
# Configuration

<!-- Written by `docs/generate.py configuration` from the settings' declarations: change those, not this page. -->

Every setting is an environment variable. It is taken from the first place that has it: the options of the command,
the environment, a `.env` in the current folder, the file that `--config` names (YAML or TOML), the default. A variable
that is known and has a bad value keeps the process from starting, and so does an unknown name in a file; the message
names the variable, the value, and what was expected.

* `fauxchange config` prints these tables, `fauxchange config WORD` the rows with that word.
* `.env.example` lists the same variables with their defaults: copy it to `.env` and change what you need.
* `make check-env`, or `fauxchange check-env [FILE]`, checks a `.env` without starting anything.

Durations are written `250ms`, `300s`, `1m`, `24h`, `30d`. Settings marked *secret* never reach logs, metrics or the
audit trail.
"""


def configuration_page() -> str:
    """Return docs/configuration.md."""
    lines = [HEAD]
    for group, rows in groupby(documented_settings(), key=lambda row: row.group):
        lines += [f"## {group}\n", "| Variable | Default | Unit | Meaning |", "|---|---|---|---|"]
        lines += [_row(row) for row in rows]
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def _row(row: DocumentedSetting) -> str:
    default = f"`{row.default}`" if re.fullmatch(r"\S+", row.default) and row.default != "none" else row.default
    unit = row.unit.replace("|", "\\|")
    secret = " (*secret*)" if row.secret else ""
    return f"| `{row.name}` | {default} | {unit} | {row.description}{secret} |"


async def picture() -> str:
    """Return an SVG of what `fauxchange prices` shows, taken from a server of its own."""
    with tempfile.TemporaryDirectory() as folder, started(Path(folder), PICTURE_SETTINGS) as server:
        board = Board(time.monotonic())
        async with StreamClient.connect(server.venue.websocket) as client:
            await client.subscribe("prices")
            end_s = time.monotonic() + WATCHED_S
            while (now_s := time.monotonic()) < end_s:
                message = await client.next("prices")
                board.take(message["data"], now_s, update=message["type"] != "snapshot")
    console = Console(record=True, width=84, file=StringIO(), force_terminal=True, highlight=False)
    console.print("[bold green]$[/bold green] fauxchange prices\n")
    console.print(board.render(now_s))
    svg = console.export_svg(title="fauxchange")
    # No reader of a page should fetch fonts from elsewhere.
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)


def scenario_pictures() -> None:
    """Write a picture of every worked example of scenarios, as `fauxchange scenario picture` draws it."""
    from fauxchange.cli.app import app

    for file in sorted((FOLDER.parent / "scenarios/market").glob("*.yaml")):
        target = FOLDER / "images" / f"scenario-{file.stem}.svg"
        app(["scenario", "picture", str(file), "--seed", "1", "--out", str(target)], standalone_mode=False)


def recorded_months(folder: Path) -> str:
    """Return the curves and shapes of the recorded months, which reports show where no file is named."""
    from fauxchange.realism.recorded import bars_of_file
    from fauxchange.realism.report.recorded import month_document

    months = {}
    for base in ("BTC", "ETH", "SOL", "ADA"):
        bars = bars_of_file(folder / f"{base.lower()}_usdt_perp_1m_2025-05.csv.gz")
        months[base] = month_document(f"real ({base}/USDT, May 2025)", bars)
    return json.dumps(months, separators=(",", ":")) + "\n"


def similarity_picture(folder: Path) -> str:
    """Return an SVG that has the recorded month of Bitcoin and weeks of the shipped model beside each other."""
    from fauxchange.realism import study
    from fauxchange.realism.report.plots import overview

    real = study.read(folder / "btc_usdt_perp_1m_2025-05.csv.gz")
    compared = study.compare(study.simulate(weeks=16, seeds=[1]), real=real, reference="BTC")
    intervals = {name: (each.low, each.high) for name, each in compared.against.intervals.items()}
    weeks = compared.real_week, compared.made_weeks[1]
    title = "One-minute returns of BTC/USDT (Binance, May 2025) and of the model"
    return overview(title, compared.real, compared.made, weeks, intervals).file()


def executed_notebook() -> str:
    """Return the notebook with its outputs, and without anything that differs from run to run."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=NOTEBOOK_S, kernel_name="python3").execute()
    for cell in notebook.cells:
        cell["metadata"] = {}
    notebook.metadata.language_info = {"name": "python"}
    return nbformat.writes(notebook) + "\n"


def main(what: str) -> None:
    """Write one of the documents."""
    if what == "configuration":
        (FOLDER / "configuration.md").write_text(configuration_page(), encoding="utf-8")
    elif what == "picture":
        (FOLDER / "images" / "prices.svg").write_text(asyncio.run(picture()), encoding="utf-8")
    elif what == "scenarios":
        scenario_pictures()
    elif what == "similarity":
        drawing = similarity_picture(Path(os.environ["FAUXCHANGE_DATA"]))
        (FOLDER / "images" / "similarity-btc.svg").write_text(drawing, encoding="utf-8")
    elif what == "notebook":
        NOTEBOOK.write_text(executed_notebook(), encoding="utf-8")
    elif what == "months":
        MONTHS.write_text(recorded_months(Path(os.environ["FAUXCHANGE_DATA"])), encoding="utf-8")
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) == 2 else "")
