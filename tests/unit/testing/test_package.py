"""What `fauxchange.testing` offers by name."""

import subprocess
import sys

import pytest

import fauxchange.testing


def test_every_name_that_is_offered_is_there() -> None:
    assert [name for name in fauxchange.testing.__all__ if not hasattr(fauxchange.testing, name)] == []


def test_a_name_that_is_not_offered_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'venue_of_dreams'"):
        _ = fauxchange.testing.venue_of_dreams  # type: ignore[attr-defined]


def test_servers_are_launched_without_the_rest_of_the_product() -> None:
    program = "import sys, fauxchange.testing.plugin; print(*sys.modules)"

    modules = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert "fauxchange.testing.servers.postgres" in modules
    assert {"numba", "litestar", "fauxchange.venue", "fauxchange.data"} & set(modules) == set()
