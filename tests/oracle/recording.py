"""Random scripts as rows for the kernel, written down once so that they can be replayed in any portions."""

import hashlib
import sys
from typing import Any

from oracle.lockstep import Kernel
from oracle.rows import Translator
from oracle.scripts import Script, opening
from oracle.venue import ReferenceVenue


def recorded(seed: int, commands: int, kernel: Kernel) -> Any:
    """Return the rows of a founded venue and `commands` random ones after that."""
    venue = ReferenceVenue()
    script, translator = Script(seed, venue), Translator(kernel.layout, kernel.vocabulary)
    rows = []
    for given in [*opening(), *(None for _ in range(commands))]:
        command = given or script.next()
        command.ts_ns = script.ts_ns
        venue.apply(command)
        rows.append(translator.row(command, len(rows) + 1))
    return kernel.engine.join(rows)


def outcome(seed: int, commands: int, compiler: Any) -> str:
    """Return one digest of all events of a script and the state that it ends in."""
    kernel = Kernel.of()
    engine = kernel.engine.Engine(compiler=compiler)
    events = engine.apply(recorded(seed, commands, kernel))
    return f"{hashlib.sha256(events.tobytes()).hexdigest()} {engine.state_hash()}"


if __name__ == "__main__":
    from fauxchange.platform.compiler import compile_kernel

    print(outcome(int(sys.argv[1]), int(sys.argv[2]), compile_kernel))  # noqa: T201 - this is how it answers
