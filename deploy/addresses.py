#!/usr/bin/env python3
"""Print the services of compose.yaml that are ours: name, fixed address and HTTP port, one line each."""

import sys
from pathlib import Path

import yaml

from fauxchange.venue.services import SERVICES


def main() -> None:
    """Run the script."""
    document = yaml.safe_load((Path(__file__).parent / "compose.yaml").read_text(encoding="utf-8"))
    for name, entry in SERVICES.items():
        (network,) = document["services"][name]["networks"].values()
        sys.stdout.write(f"{name} {network['ipv4_address']} {entry.http_port}\n")


if __name__ == "__main__":
    main()
