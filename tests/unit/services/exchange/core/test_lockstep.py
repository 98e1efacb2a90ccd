"""The compiled kernel and the naive reference venue do the same, whatever random commands they get."""

import os

import pytest
from oracle.lockstep import Kernel, run_script
from oracle.scripts import Script, opening
from oracle.venue import ReferenceVenue

from fauxchange.platform.compiler import compile_kernel, numba_available
from fauxchange.services.exchange.core.vocabulary import EventKind, RejectReason

COMMANDS = int(os.environ.get("FAUXCHANGE_TEST_COMMANDS") or (300_000 if numba_available() else 12_000))
"""All together; plain Python (coverage, debugging) gets fewer unless asked."""
GROUPS = 12
LENGTH = 5_000
"""Commands of one script; the next begins with an empty venue."""

UNREACHED = {
    RejectReason.NONE,
    # No asset of the kernel is named by a trading command, and amounts that big are refused by the limits before.
    RejectReason.OVERFLOW,
}
"""Reasons that have tests of their own and no place in random trading."""


@pytest.mark.parametrize("group", range(GROUPS))
def test_kernel_does_what_the_reference_venue_does(group: int) -> None:
    kernel, remaining, seed = Kernel.of(), -(-COMMANDS // GROUPS), group * 1_000_000

    while remaining > 0:
        run_script(seed, min(LENGTH, remaining), kernel=kernel, compiler=compile_kernel)
        seed, remaining = seed + 1, remaining - LENGTH


@pytest.mark.parametrize(("quiet", "unfunded"), [(True, False), (False, True), (True, True)])
def test_kernel_does_the_same_without_some_events_and_without_a_ledger(quiet: bool, unfunded: bool) -> None:
    commands = min(LENGTH, COMMANDS // GROUPS)

    counts = run_script(
        77, commands, kernel=Kernel.of(), compiler=compile_kernel, quiet=quiet, unfunded=unfunded, whole_every=20
    )

    assert counts["TRADE", ""] > commands // 50


def test_random_scripts_reach_every_event_and_every_reason() -> None:
    kinds, reasons = set(), set()

    for seed in range(6):
        venue = ReferenceVenue()
        script = Script(seed, venue)
        commands = [*opening(), *(None for _ in range(6_000))]
        for given in commands:
            command = given or script.next()
            command.ts_ns = script.ts_ns
            for event in venue.apply(command):
                kinds.add(event["kind"])
                reasons.add(event.get("reason", "NONE"))

    # The reference venue leaves balances and levels to the comparison of states.
    assert {kind.name for kind in EventKind} - kinds == {"BALANCE", "BOOK"}
    assert {reason.name for reason in RejectReason if reason not in UNREACHED} - reasons == set()
