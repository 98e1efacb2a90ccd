"""Run the command line: `fauxchange`, or `python -m fauxchange.cli`."""

import sys
import traceback

from fauxchange.cli.app import app
from fauxchange.cli.endings import EXIT_FAILED, tell_of_bug


def main() -> None:
    """Run the command that the arguments name, and exit with its code."""
    try:
        app(prog_name="fauxchange")
    except Exception:
        # What the commands expect to fail they have reported themselves: this is a bug, and its trace is the report.
        traceback.print_exc()
        tell_of_bug()
        sys.exit(EXIT_FAILED)


if __name__ == "__main__":
    main()
