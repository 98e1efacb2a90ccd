"""The command line.

Modules here import the standard library, Typer, rich and the pure parts of `domain` at their top, and everything else
inside the commands, so that `--help`, `version` and completion answer at once.

* `app` puts the commands together; `__main__` runs it; `endings` says how a command ends when something is wrong;
* `serving` starts servers (`up`, `serve`); `documentation` explains settings (`config`, `check-env`);
* `prices`, `scenarios` talk to a running server, through `remote` (REST) and `streams` (WebSocket);
* `orders`, `accounts`, `exchange` trade, administer and watch a running exchange, through `clients`;
* `benchmarks` runs what `fauxchange.bench` measures;
* `console` and `options` hold what the commands share: how output looks, and the options that mean the same everywhere.
"""
