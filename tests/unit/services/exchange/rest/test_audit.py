import msgspec
import pytest

from fauxchange.domain.errors import Unavailable


@pytest.fixture
def records(exchange, record):
    """Give the exchange a trail of seven hundred records."""
    exchange.records = [record(sequence) for sequence in range(1, 701)]


async def test_the_trail_is_read_by_page(auditor, records):
    first = (await auditor.audit("/exchange/trail?limit=300")).json()
    second = (await auditor.audit(f"/exchange/trail?limit=300&cursor={first['next_cursor']}")).json()
    third = (await auditor.audit(f"/exchange/trail?limit=300&cursor={second['next_cursor']}")).json()

    pages = [first, second, third]
    assert [event["sequence"] for page in pages for event in page["events"]] == list(range(1, 701))
    assert [page["next_cursor"] for page in pages] == ["301", "601", None]


async def test_the_last_page_may_be_full(auditor, records):
    page = (await auditor.audit("/exchange/trail?limit=700")).json()

    assert (len(page["events"]), page["next_cursor"]) == (700, None)


async def test_the_whole_trail_comes_as_json_lines(auditor, records):
    response = await auditor.audit("/exchange/trail?format=jsonl")

    lines = response.text.splitlines()
    assert response.headers["content-type"] == "application/jsonl"
    assert [msgspec.json.decode(line)["sequence"] for line in lines] == list(range(1, 701))
    assert response.text.endswith("\n")


@pytest.mark.parametrize(("query", "count"), [("limit=250", 250), ("limit=200", 200), ("from_sequence=701", 0)])
async def test_lines_are_as_many_as_were_asked_for(auditor, records, query, count):
    response = await auditor.audit(f"/exchange/trail?format=jsonl&{query}")

    assert (response.status_code, len(response.text.splitlines())) == (200, count)


async def test_every_filter_of_the_trail_is_handed_on(auditor, exchange):
    await auditor.audit("/exchange/trail?from_sequence=5&account=3&type=t&start=2026-01-31&end=2026-02-01")

    (query,) = exchange.queries
    assert (query.from_sequence, query.account, query.type) == (5, 3, "t")
    assert query.end_ns - query.start_ns == 24 * 3600 * 10**9


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ("format=csv", "invalid_request", "format"),
        ("from_sequence=0", "invalid_request", "from_sequence"),
        ("account=x", "invalid_request", "account"),
        ("cursor=x", "invalid_cursor", "cursor"),
        ("cursor=" + "9" * 19, "invalid_cursor", "cursor"),
        ("limit=0", "invalid_request", "limit"),
        ("start=x", "invalid_time", "start"),
        ("sequence=1", "unknown_parameter", "sequence"),
    ],
)
async def test_the_trail_is_not_asked_for_in_another_way(auditor, check_problem, query, code, field):
    check_problem(await auditor.audit(f"/exchange/trail?{query}"), 400, code, field)


@pytest.mark.parametrize("output", ["json", "jsonl"])
async def test_a_trail_that_cannot_be_read_is_refused_before_the_answer_begins(
    auditor, exchange, check_problem, output
):
    exchange.failure = Unavailable("the store is away")

    check_problem(await auditor.audit(f"/exchange/trail?format={output}"), 503, "unavailable")


async def test_the_state_is_that_of_the_service(auditor):
    assert (await auditor.audit("/exchange/state")).json() == {"state_hash": "ab"}


@pytest.mark.parametrize("path", ["/exchange/trail", "/exchange/state"])
async def test_the_audit_api_wants_its_key(auditor, check_problem, path):
    check_problem(await auditor.http.get(f"/audit/v1{path}"), 401, "unauthenticated")
