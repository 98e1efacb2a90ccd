"""The law of the background order flow: what traders who are nobody in particular place and cancel.

`docs/order-flow.md` says what the law is and what it reaches; `OrderFlow` makes the commands of one slice of time after
another. The law is a pure function of its own state, the kernel's memory and random words, in plain Python that
compiles, and both forms give the same commands.
"""

from fauxchange.services.exchange.core.flow.generator import OrderFlow
from fauxchange.services.exchange.core.flow.parameters import (
    BUSY,
    CALM,
    INTENSITIES,
    SLICE_NS,
    FlowAccounts,
    FlowInstrument,
    Intensity,
    flow_instrument,
)

__all__ = [
    "BUSY",
    "CALM",
    "INTENSITIES",
    "SLICE_NS",
    "FlowAccounts",
    "FlowInstrument",
    "Intensity",
    "OrderFlow",
    "flow_instrument",
]
