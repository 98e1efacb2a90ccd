"""What all tests share: where the recorded market data is."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]

pytest_plugins = ["fauxchange.testing.plugin", "postgres_kit"]


@pytest.fixture
def recorded_data(request: pytest.FixtureRequest) -> Path:
    """Return the folder of recorded data; skip the test where a file named by its `data` marker is absent.

    The data stays outside the repository, because of its terms. In CI its absence is a failure.
    """
    folder = Path(os.environ.get("FAUXCHANGE_DATA") or REPOSITORY / "../shared/data")
    names = [name for marker in request.node.iter_markers("data") for name in marker.args]
    missing = [name for name in names or ["."] if not (folder / name).exists()]
    if missing:
        # One reason for all, so that pytest counts the tests under it.
        reason = "recorded market data is absent; set FAUXCHANGE_DATA to its folder"
        if os.environ.get("CI"):
            pytest.fail(f"{reason} (missing: {', '.join(missing)})")
        pytest.skip(reason)
    return folder
