"""`warm-up`: compile the kernels before anybody waits for them, such as while an image is built."""

import sys
from pathlib import Path

from fauxchange.cli.console import facts, messages, output, print_json
from fauxchange.cli.options import Json, examples

ENV_FILE = Path(".env")

EXAMPLES = examples("fauxchange warm-up", "NUMBA_CPU_NAME=x86-64-v3 XDG_CACHE_HOME=/opt/cache fauxchange warm-up")


def warm_up(*, as_json: Json = False) -> None:
    """Compile the kernels into the cache, so that the next start finds them there.

    The cache is the folder `fauxchange/numba` of XDG_CACHE_HOME (`~/.cache`). With NUMBA_CPU_NAME, the code is made
    for a level of CPU instead of this machine's own; it is found again by processes that name the same level.
    """
    from fauxchange.platform.settings import load_settings
    from fauxchange.venue.warming import KERNELS
    from fauxchange.venue.warming import warm_up as compile_all

    settings = load_settings(env_file=ENV_FILE)
    console = messages()
    done = {}
    with console.status("") as status:
        warming = compile_all(settings)
        for number, what in enumerate(KERNELS, 1):
            told = f"Compiling {what} ({number} of {len(KERNELS)}); the exchange takes about a minute the first time"
            status.update(told)
            if not sys.stderr.isatty():
                console.print(told)
            done[what] = next(warming).seconds
    if as_json:
        print_json({"seconds": {what: round(seconds, 3) for what, seconds in done.items()}})
        return
    output().print(facts([(what.capitalize(), f"ready in {seconds:.1f} s") for what, seconds in done.items()]))
