"""Who asks: calls are authenticated by their metadata before anything in them is looked at."""

import math
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

import grpc.aio

from fauxchange.domain.errors import Forbidden, Unauthenticated
from fauxchange.platform.tracing import current_request
from fauxchange.services.exchange.service.access import Access
from fauxchange.services.exchange.service.limits import Allowances, RateState
from fauxchange.services.exchange.service.requests import Caller, Origin

Context = grpc.aio.ServicerContext[Any, Any]

SIGNED_PREFIX: Final = b"GRPC"


@dataclass(frozen=True, slots=True)
class Asker:
    """Whoever calls: who it is, and where its commands come from as it is journalled with them."""

    caller: Caller
    origin: Origin
    api_key: str = ""

    @property
    def account(self) -> int:
        """The account that is traded for."""
        return self.caller.account


class Callers:
    """Authenticate calls: `signed` those of traders, `admin` those of administrators."""

    def __init__(self, access: Access, limits: Allowances) -> None:
        self._access = access
        self.limits = limits

    async def signed(self, context: Context, method: str, cost: int = 1) -> Asker:
        """Return who signed the call, unless its account asks too often.

        Raises: Unauthenticated, RateLimited
        """
        given = _metadata(context)
        try:
            key, timestamp, signature = given["fx-key"], given["fx-timestamp"], given["fx-signature"]
        except KeyError as exc:
            raise Unauthenticated(
                "this method wants the metadata fx-key, fx-timestamp and fx-signature", code="unsigned_request"
            ) from exc
        caller = self._access.signed(
            key=key,
            timestamp=timestamp,
            signature=signature,
            message=SIGNED_PREFIX + method.encode(),
            window=given.get("fx-window"),
            nonce=given.get("fx-nonce"),
        )
        state = await self.limits.admit(caller, cost)
        context.set_trailing_metadata((*context.trailing_metadata(), *_rate_metadata(state)))
        return _asker(context, caller, key)

    def refuse_revoked(self, asker: Asker) -> Unauthenticated | None:
        """Return why a stream of this caller ends, None as long as the key still stands."""
        if self._access.stands(asker.api_key):
            return None
        return Unauthenticated("the API key has been revoked", code="key_revoked")

    async def admin(self, context: Context) -> Asker:
        """Return which administrator calls. Raises: Unauthenticated, Forbidden."""
        given = _metadata(context)
        authorization = given.get("authorization")
        if authorization is None and "fx-key" in given:
            raise Forbidden("this method is for administrators: it wants `authorization: Bearer <admin key>`")
        caller = self._access.admin(authorization)
        await self.limits.admit(caller, 0)
        return _asker(context, caller)


def source_of(peer: str) -> str:
    """Return the address of a gRPC peer without its port: `ipv4:127.0.0.1:50` or `ipv6:%5B::1%5D:50`; else nothing."""
    kind, _, rest = peer.partition(":")
    if kind not in {"ipv4", "ipv6"}:
        return ""
    return unquote(rest).rpartition(":")[0].strip("[]")


def _asker(context: Context, caller: Caller, api_key: str = "") -> Asker:
    request = current_request()
    return Asker(
        caller,
        Origin(
            caller.actor,
            source_of(context.peer()),
            "" if request is None else request.request_id,
            "" if request is None else request.trace_id,
        ),
        api_key,
    )


def _metadata(context: Context) -> dict[str, str]:
    # Binary metadata is none of ours.
    return {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}


def _rate_metadata(state: RateState) -> tuple[tuple[str, str], ...]:
    return (
        ("fx-ratelimit-limit", str(state.limit)),
        ("fx-ratelimit-remaining", str(state.remaining)),
        ("fx-ratelimit-reset", str(math.ceil(state.reset_s))),
    )
