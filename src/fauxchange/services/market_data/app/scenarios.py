"""Scenarios that are to run from the start: read and checked before anything starts."""

from collections.abc import Sequence
from pathlib import Path

from fauxchange.domain.errors import ConfigurationError
from fauxchange.services.market_data.app.sources import Sources
from fauxchange.services.market_data.core.located import MAX_BYTES
from fauxchange.services.market_data.core.scenario_files import specs_from_text
from fauxchange.services.market_data.core.scenarios import InvalidScenario, ScenarioSpec


def read_scenario_file(path: Path) -> tuple[ScenarioSpec, ...]:
    """Return the scenarios of a YAML or TOML file. Raises: ConfigurationError with everything that is wrong."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1).decode()
    except OSError as exc:
        raise ConfigurationError(f"scenario file {path} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigurationError(f"scenario file {path} is not UTF-8 text: byte {exc.start}") from exc
    try:
        return specs_from_text(text, file_name=str(path))
    except InvalidScenario as exc:
        lines = "\n".join(f"  {problem}" for problem in exc.problems)
        raise ConfigurationError(f"scenario file {path}:\n{lines}") from exc


def check_scenarios(specs: Sequence[ScenarioSpec], sources: Sources) -> None:
    """Check that every symbol of the scenarios is modelled. Raises: ConfigurationError."""
    modelled = [instrument.symbol for instrument in sources.modelled]
    for spec in specs:
        for symbol in (*spec.symbols, *spec.against):
            if symbol not in modelled:
                raise ConfigurationError(
                    f"scenario {spec.id} names {symbol}, which is not modelled here; "
                    f"those are {', '.join(modelled) or 'none'}"
                )
