"""What gateways and the kernel process say to each other: one ordered stream of messages in each direction.

A gateway parses, authenticates and renders; the kernel process decides, numbers and stores. Because the kernel's side
of the stream is one order, whatever it has told before an answer is known when the answer is: an account that was
created, a key that was revoked, a book that has moved.

Every message is an element of a MessagePack array (`pack`, `Reading`). Both ends are of the same version.
"""

from collections.abc import Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec

from fauxchange.contracts.exchange.messages import (
    AccountRequest,
    AmendRequest,
    KeyRequest,
    OrderRequest,
    TransferRequest,
)
from fauxchange.data.ports import AccountQuery, FillQuery, LedgerQuery, OrderQuery, Page
from fauxchange.domain.errors import (
    Conflict,
    DamagedJournal,
    DeadlineExceeded,
    FauxchangeError,
    Forbidden,
    InvalidRequest,
    NotFound,
    RateLimited,
    Rejected,
    Unauthenticated,
    Unavailable,
)
from fauxchange.domain.orders import AccountRecord, FillRecord, KeyRecord, LedgerEntry, OrderRecord
from fauxchange.platform.streams.topics import MessageType
from fauxchange.services.exchange.service.limits import RateState
from fauxchange.services.exchange.service.requests import Balance, Origin, Outcome, Placement, Transfer

BEAT_S: Final = 0.5
"""How often each end says that it lives."""
SILENCE_S: Final = 2.0
"""After so long without a word the other end is taken for gone; what it was told last is used no longer."""
BATCH_BYTES: Final = 1 << 20
"""A batch ends behind the message that reaches it."""
MAX_BATCH_BYTES: Final = 64 << 20
"""What either end reads at most."""


class Message(msgspec.Struct, array_like=True, omit_defaults=True, gc=False):
    """One message of either direction."""


# From a gateway


class Hello(Message, tag="hello"):
    """The first message: who it is, and up to which number of which epoch it knows the public topics."""

    version: str
    gateway: str
    known: dict[str, tuple[int, int]]


class Admit(Message, tag="admit"):
    """Ask whether a request that a gateway has found rightly signed may go on; without a key, only to be answered.

    A signature is accepted once over all gateways, and the allowance of an account is one for all of them.
    """

    id: int
    account: int
    key: str = ""
    stamp_ms: int = 0
    signature: str = ""
    cost: int = 0


class Charge(Message, tag="charge"):
    """Take from an account's allowance what the calls cost that name this charge; no answer of its own."""

    id: int
    account: int
    cost: int


class Watch(Message, tag="watch"):
    """Tell of an account's orders and balances from now on, beginning with how they stand."""

    id: int
    account: int


class Unwatch(Message, tag="unwatch"):
    """Tell of an account no longer."""

    account: int


class Leave(Message, tag="leave"):
    """Remember what a session places from now on, to cancel it when the session or the gateway has gone."""

    session: int
    account: int
    origin: Origin


class Left(Message, tag="left"):
    """A session that was to leave nothing behind has ended."""

    session: int


class Call(Message, tag="call"):
    """Do something, and answer; `arguments` is a MessagePack array as METHODS says."""

    id: int
    method: str
    arguments: msgspec.Raw
    session: int = 0
    charge: int = 0


# From the kernel process


class Welcome(Message, tag="welcome"):
    """The first message: the epoch of all numbers, what there is to trade, the sealed key of administrators."""

    epoch: int
    venue: dict[str, Any]
    admin_key: str


class Accounts(Message, tag="accounts"):
    """Accounts as they are now."""

    records: list[AccountRecord]


class Keys(Message, tag="keys"):
    """API keys as they are now; their secrets are sealed for gateways."""

    records: list[KeyRecord]


class ListingStatus(Message, tag="status"):
    """An instrument was opened or halted."""

    symbol: str
    status: int


class Told(Message, tag="told"):
    """One message of a topic; the snapshot of a public one says that what was kept before it has a gap."""

    topic: str
    account: int
    first_sequence: int
    sequence: int
    kind: MessageType
    data: msgspec.Raw


class Ready(Message, tag="ready"):
    """Everything that there is has been told; what follows is what changes."""


class Failure(Message, tag="failure"):
    """A `FauxchangeError` on its way."""

    kind: str
    code: str
    text: str
    field: str | None = None
    retryable: bool = False
    retry_after_s: float | None = None
    details: dict[str, str] = {}
    reason: int = 0
    order: OrderRecord | None = None
    fills: list[FillRecord] = []


class Answer(Message, tag="answer"):
    """What came of a call."""

    id: int
    result: msgspec.Raw = msgspec.Raw(b"\xc0")
    failure: Failure | None = None


class Admitted(Message, tag="admitted"):
    """What came of `Admit`: what is left of the allowance, and why not if it is refused."""

    id: int
    limit: int = 0
    remaining: int = 0
    reset_s: int = 0
    failure: Failure | None = None

    @property
    def state(self) -> RateState:
        """What is left of the account's allowance."""
        return RateState(self.limit, self.remaining, self.reset_s)


# In both directions


class Beat(Message, tag="beat"):
    """The sender lives; `problem` says why the kernel process takes no orders, if it takes none."""

    problem: str = ""


class Hearing:
    """When the other end was heard last.

    Units: seconds of the event loop's time
    """

    def __init__(self, now_s: float) -> None:
        self.heard(now_s)

    def heard(self, now_s: float) -> None:
        """Take note of a word of the other end."""
        self.last_s = now_s
        self._unheard_s = 0.0

    def is_fresh(self, now_s: float) -> bool:
        """Say whether what the other end has told may still be used."""
        return now_s - self.last_s <= SILENCE_S

    def is_silent(self, pause_s: float) -> bool:
        """Say whether the other end is gone; to be asked again and again after pauses that were meant to be so long.

        The pauses count as they were meant: while this process stands still nobody is heard, which says nothing about
        the other end.
        """
        self._unheard_s += pause_s
        return self._unheard_s > SILENCE_S


FromGateway = Hello | Admit | Charge | Watch | Unwatch | Leave | Left | Call | Beat
FromKernel = Welcome | Accounts | Keys | ListingStatus | Told | Ready | Answer | Admitted | Beat

_encoder: Final = msgspec.msgpack.Encoder()
encode: Final = _encoder.encode


def pack(encoded: Sequence[bytes]) -> bytes:
    """Return encoded messages as what one batch carries."""
    # An array of MessagePack is its length and then its elements, one behind the other.
    return b"".join((b"\xdd", len(encoded).to_bytes(4, "big"), *encoded))


def first_batch(encoded: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Return as many of the first messages as one batch carries, at least one, and the others."""
    size = 0
    for count, each in enumerate(encoded, 1):
        size += len(each)
        if size >= BATCH_BYTES:
            return encoded[:count], encoded[count:]
    return encoded, []


read_from_gateway: Final = msgspec.msgpack.Decoder(list[FromGateway]).decode
read_from_kernel: Final = msgspec.msgpack.Decoder(list[FromKernel]).decode


# Calls

Result = TypeVar("Result")


class Method(Generic[Result]):
    """One thing that a gateway may ask for.

    `changes` says that it may have been done although no answer came.
    """

    def __init__(self, name: str, arguments: Any, result: Any, *, changes: bool) -> None:
        self.name = name
        self.changes = changes
        self.read_arguments = msgspec.msgpack.Decoder(arguments).decode
        self.read_result = msgspec.msgpack.Decoder(result).decode


PLACE: Final = Method[Placement]("place_order", tuple[int, OrderRequest, Origin], Placement, changes=True)
CANCEL: Final = Method[Placement]("cancel_order", tuple[int, str, Origin], Placement, changes=True)
AMEND: Final = Method[Placement]("amend_order", tuple[int, str, AmendRequest, Origin], Placement, changes=True)


class BatchOutcome(msgspec.Struct, array_like=True):
    """One of a batch on its way."""

    placement: Placement | None = None
    failure: Failure | None = None


_METHODS: tuple[Method[Any], ...] = (
    PLACE,
    CANCEL,
    AMEND,
    Method("place_orders", tuple[int, list[OrderRequest], Origin], list[BatchOutcome], changes=True),
    Method("replace_order", tuple[int, str, OrderRequest, Origin], Placement, changes=True),
    Method("cancel_all", tuple[int, str | None, Origin], list[OrderRecord], changes=True),
    Method("order", tuple[int, str], Placement, changes=False),
    Method("placements", tuple[OrderQuery], Page[Placement], changes=False),
    Method("fills", tuple[FillQuery], Page[FillRecord], changes=False),
    Method("trades", tuple[FillQuery], Page[FillRecord], changes=False),
    Method("ledger", tuple[LedgerQuery], Page[LedgerEntry], changes=False),
    Method("accounts", tuple[AccountQuery], Page[AccountRecord], changes=False),
    Method("current_balances", tuple[int], list[Balance], changes=False),
    Method("create_account", tuple[AccountRequest, Origin, str | None], AccountRecord, changes=True),
    Method("set_account_status", tuple[str, int, Origin], AccountRecord, changes=True),
    Method("deposit", tuple[str, TransferRequest, Origin, str | None], Transfer, changes=True),
    Method("withdraw", tuple[str, TransferRequest, Origin, str | None], Transfer, changes=True),
    Method("create_key", tuple[str, KeyRequest, Origin], tuple[KeyRecord, str], changes=True),
    Method("revoke_key", tuple[str, str, Origin], KeyRecord, changes=True),
    Method("set_instrument_status", tuple[str, int, Origin], None, changes=True),
)
METHODS: Final = {method.name: method for method in _METHODS}


# Failures

_KINDS: Final = {
    kind.__name__: kind
    for kind in (
        FauxchangeError,
        InvalidRequest,
        Unauthenticated,
        Forbidden,
        NotFound,
        Conflict,
        RateLimited,
        Unavailable,
        DeadlineExceeded,
        DamagedJournal,
    )
}


def failure_message(failure: FauxchangeError, fills: Sequence[FillRecord] = ()) -> Failure:
    """Return a failure as it is sent; `fills` are those of the order that it is about."""
    kind = next(each.__name__ for each in type(failure).__mro__ if each is Rejected or each.__name__ in _KINDS)
    message = Failure(
        kind=kind,
        code=failure.code,
        text=failure.message,
        field=failure.field,
        retryable=failure.retryable,
        retry_after_s=failure.retry_after_s,
        details=failure.details,
    )
    if isinstance(failure, Rejected):
        message.reason = failure.reason
        if isinstance(failure.order, OrderRecord):
            message.order, message.fills = failure.order, list(fills)
    return message


class RefusedByKernel(Rejected):
    """A refusal that came over a link, with the fills of its order."""

    def __init__(self, message: Failure) -> None:
        super().__init__(message.text, code=message.code, reason=message.reason, order=message.order)
        self.fills = message.fills


def failure_of(message: Failure) -> FauxchangeError:
    """Return a failure as it was raised."""
    if message.kind == Rejected.__name__:
        return RefusedByKernel(message)
    return _KINDS.get(message.kind, FauxchangeError)(
        message.text,
        code=message.code,
        field=message.field,
        retryable=message.retryable,
        retry_after_s=message.retry_after_s,
        details=message.details,
    )


def outcome_of(outcome: BatchOutcome) -> Outcome:
    """Return one of a batch as the service tells it."""
    return Outcome(outcome.placement, None if outcome.failure is None else failure_of(outcome.failure))


# What topics carry


class BookData(msgspec.Struct, array_like=True, gc=False):
    """What changed in a book (or all of it). Units: ticks and lots, nanoseconds of venue time."""

    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]
    checksum: int
    ts_ns: int


class ReportData(msgspec.Struct, array_like=True, gc=False):
    """What happened to an order."""

    exec_type: str
    record: OrderRecord
    fill: FillRecord | None = None
