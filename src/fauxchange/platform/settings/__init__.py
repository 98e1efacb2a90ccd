"""Settings: every variable the process reads, from where, and what it means.

* `model` declares the variables: name, default, bounds, unit, meaning;
* `rules` says what holds of them beyond their types;
* `values` reads the written forms (durations, symbols, maps) into the types the code works with;
* `sources` gathers the variables from overrides, environment, `.env` and a configuration file, and names what is wrong;
* `documentation` lists the variables, writes `.env.example` and checks a `.env`.
"""

from fauxchange.platform.settings.documentation import (
    DocumentedSetting,
    check_env_file,
    documented_settings,
    env_example,
)
from fauxchange.platform.settings.model import Settings
from fauxchange.platform.settings.sources import load_settings
from fauxchange.platform.settings.values import ReplayFile

__all__ = [
    "DocumentedSetting",
    "ReplayFile",
    "Settings",
    "check_env_file",
    "documented_settings",
    "env_example",
    "load_settings",
]
