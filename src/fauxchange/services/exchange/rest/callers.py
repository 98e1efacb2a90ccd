"""Who asks: requests are authenticated before anything in them is parsed, and keep what is known of their callers."""

from typing import Any, Final, Self

import msgspec
from litestar import Request, Response
from litestar.openapi import ResponseSpec
from litestar.types import ExceptionHandlersMap

from fauxchange.contracts.exchange import render
from fauxchange.contracts.exchange.messages import OrderMessage
from fauxchange.domain.errors import Forbidden, RateLimited, Rejected, Unauthenticated
from fauxchange.domain.orders import OrderRecord
from fauxchange.platform.errors import PROBLEM_JSON, RejectionDocument
from fauxchange.platform.http.problems import problem_title, render_exception
from fauxchange.platform.http.rendered import Rendered
from fauxchange.platform.tracing import current_request
from fauxchange.services.exchange.service.access import Access
from fauxchange.services.exchange.service.api import ExchangeApi
from fauxchange.services.exchange.service.limits import Allowances, RateState
from fauxchange.services.exchange.service.requests import Caller, Origin

CallersRequest = Request[Caller, Any, Any]
Headers = tuple[tuple[bytes, bytes], ...]

_encode = msgspec.json.Encoder().encode


class OrderRejection(RejectionDocument, kw_only=True, frozen=True, omit_defaults=True):
    """A refusal by the venue's rules, with the order that it is about, where there is one."""

    order: OrderMessage | None = None


REJECTED: Final = {
    422: ResponseSpec(OrderRejection, media_type=PROBLEM_JSON, description=problem_title(422), generate_examples=False)
}
"""What a route passes among its `responses=` whose requests the kernel may refuse."""


class Callers:
    """Authenticate requests: `signed` and `identified` those of traders, `admin` those of administrators.

    All three are hooks for `before_request`. What they find stays in the request's scope: the caller as its `user`,
    what is left of a trader's allowance as its `auth`.
    """

    def __init__(self, access: Access, limits: Allowances) -> None:
        self._access = access
        self._limits = limits

    def __deepcopy__(self, memo: object) -> Self:
        # The framework copies routes with all that they hold, and there is one access and one allowance for all.
        return self

    async def signed(self, request: CallersRequest) -> None:
        """Let a signed request through, unless its account asks too often. Raises: Unauthenticated, RateLimited."""
        await self._identify(request)
        await self.charge(request, 1)

    async def identified(self, request: CallersRequest) -> None:
        """Let a signed request through whose route charges for it itself. Raises: Unauthenticated.

        A HEAD request is signed as the GET that it stands for.
        """
        await self._identify(request)
        await self._limits.admit(request.user, 0)

    async def _identify(self, request: CallersRequest) -> None:
        scope = request.scope
        given = dict(scope["headers"])
        try:
            key, timestamp, signature = given[b"fx-key"], given[b"fx-timestamp"], given[b"fx-signature"]
        except KeyError as exc:
            raise Unauthenticated(
                "this route wants the headers FX-Key, FX-Timestamp and FX-Signature", code="unsigned_request"
            ) from exc
        query = scope["query_string"]
        target = scope["raw_path"] + b"?" + query if query else scope["raw_path"]
        scope["user"] = self._access.signed(
            key=key.decode("latin-1"),
            timestamp=timestamp.decode("latin-1"),
            signature=signature.decode("latin-1"),
            message=scope["method"].encode() + target + await request.body(),
            window=None if (window := given.get(b"fx-window")) is None else window.decode("latin-1"),
            nonce=None if (nonce := given.get(b"fx-nonce")) is None else nonce.decode("latin-1"),
        )

    async def charge(self, request: CallersRequest, cost: int) -> None:
        """Take what a request costs from its account's allowance. Raises: RateLimited."""
        try:
            state = await self._limits.admit(request.user, cost)
        except RateLimited:
            request.scope["auth"] = _rate_headers(self._limits.peek(request.user.account))
            raise
        request.scope["auth"] = _rate_headers(state)

    async def admin(self, request: CallersRequest) -> None:
        """Let an administrator's request through. Raises: Unauthenticated, Forbidden."""
        given = dict(request.scope["headers"])
        authorization = given.get(b"authorization")
        if authorization is None and b"fx-key" in given:
            raise Forbidden("this route is for administrators: it wants `Authorization: Bearer <admin key>`")
        caller = self._access.admin(None if authorization is None else authorization.decode("latin-1"))
        await self._limits.admit(caller, 0)
        request.scope["user"] = caller


def origin_of(request: CallersRequest) -> Origin:
    """Return where a request came from, as it is journalled with what it asks for."""
    client = request.scope.get("client")
    context = current_request()
    return Origin(
        request.user.actor,
        client[0] if client else "",
        "" if context is None else context.request_id,
        "" if context is None else context.trace_id,
    )


def answer(request: CallersRequest, message: object, status: int = 200) -> Rendered[Any]:
    """Return the answer to a signed request, with what is left of its caller's allowance."""
    return Rendered(_encode(message), status=status, headers=request.scope["auth"])


def refusals(service: ExchangeApi) -> ExceptionHandlersMap:
    """Return what routes pass as `exception_handlers=`: orders in refusals are rendered, allowances are told."""

    def refuse(request: Request[Any, Any, Any], exc: Exception) -> Response[bytes]:
        if isinstance(exc, Rejected) and isinstance(exc.order, OrderRecord):
            exc.order = render.order_message(exc.order, service.listing_of(exc.order.symbol))
        response = render_exception(request, exc)
        for name, value in request.scope.get("auth") or ():
            response.headers[name.decode()] = value.decode()
        return response

    return {Exception: refuse}


def _rate_headers(state: RateState) -> Headers:
    if state.limit == 0:  # no limit, so that there is nothing to tell
        return ()
    return (
        (b"ratelimit-limit", b"%d" % state.limit),
        (b"ratelimit-remaining", b"%d" % state.remaining),
        (b"ratelimit-reset", b"%d" % state.reset_s),
    )
