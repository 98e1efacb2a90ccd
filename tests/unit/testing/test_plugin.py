"""What a test run says about the real servers at its end."""

from collections import Counter

from fauxchange.testing.plugin import summary


def test_the_summary_names_each_server_with_the_number_of_its_tests() -> None:
    ran = Counter({"Valkey 9.1.2 (wheel)": 1, "PostgreSQL 18.6 (wheel)": 123})

    line = summary(ran, Counter())

    assert line == "PostgreSQL 18.6 (wheel): 123 tests; Valkey 9.1.2 (wheel): 1 test; none skipped"


def test_the_summary_counts_what_was_skipped_for_want_of_a_server() -> None:
    line = summary(Counter({"Valkey 9.1.2 (wheel)": 2}), Counter({"PostgreSQL": 7}))

    assert line == "Valkey 9.1.2 (wheel): 2 tests; skipped for want of PostgreSQL: 7 tests"
