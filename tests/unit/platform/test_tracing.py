import asyncio

import pytest
import structlog

from fauxchange.platform.tracing import (
    current_request,
    outgoing_headers,
    outgoing_metadata,
    parse_traceparent,
    request_context,
    serving,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


def _ones(count):
    return b"\x11" * count


def test_a_valid_traceparent_is_taken_over_with_a_span_of_our_own():
    context = request_context({"traceparent": f"00-{TRACE}-{SPAN}-01"}, random_bytes=_ones)

    assert (context.trace_id, context.parent_span_id, context.span_id) == (TRACE, SPAN, "11" * 8)
    assert context.traceparent == f"00-{TRACE}-{'11' * 8}-01"


def test_a_trace_that_is_not_sampled_stays_so():
    context = request_context({"traceparent": f"00-{TRACE}-{SPAN}-00"}, random_bytes=_ones)

    assert context.traceparent.endswith("-00")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        f"00-{TRACE}-{SPAN}",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n00",
    ],
)
def test_an_invalid_traceparent_is_replaced(text):
    context = request_context({"traceparent": text}, random_bytes=_ones)

    assert (context.trace_id, context.parent_span_id) == ("11" * 16, None)


def test_a_later_version_is_read_as_far_as_the_first_one_goes():
    assert parse_traceparent(f"01-{TRACE}-{SPAN}-03-more") == (TRACE, SPAN, 1)


@pytest.mark.parametrize("given", ["a", "A-1.b_2", "x" * 128])
def test_a_sane_request_id_is_taken_over(given):
    assert request_context({"x-request-id": given}).request_id == given


@pytest.mark.parametrize("given", ["", " ", "x" * 129, "a b", "a\n", "é", 'a"'])
def test_any_other_request_id_is_replaced(given):
    assert request_context({"x-request-id": given}, random_bytes=_ones).request_id == "11" * 16


def test_the_ids_are_current_and_in_every_log_line_while_the_request_is_served():
    context = request_context({"x-request-id": "r-1"}, random_bytes=_ones)

    with serving(context):
        inside = current_request(), structlog.contextvars.get_contextvars()

    assert inside == (context, {"request_id": "r-1", "trace_id": "11" * 16, "span_id": "11" * 8})
    assert (current_request(), structlog.contextvars.get_contextvars()) == (None, {})


async def test_requests_side_by_side_do_not_see_each_other():
    async def serve(name):
        with serving(request_context({"x-request-id": name})):
            await asyncio.sleep(0)
            return current_request().request_id

    assert await asyncio.gather(serve("a"), serve("b")) == ["a", "b"]


def test_what_a_request_calls_becomes_its_child():
    headers = {"x-request-id": "r-1", "traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=1"}

    with serving(request_context(headers, random_bytes=_ones)):
        out = outgoing_headers()
        metadata = outgoing_metadata()

    assert out == {"x-request-id": "r-1", "traceparent": f"00-{TRACE}-{'11' * 8}-01", "tracestate": "vendor=1"}
    assert dict(metadata) == out
    assert outgoing_headers() == {}


def test_a_tracestate_without_a_trace_or_too_long_is_dropped():
    alone = request_context({"tracestate": "vendor=1"}, random_bytes=_ones)
    long = request_context({"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "v" * 513})

    assert (alone.tracestate, long.tracestate) == (None, None)
