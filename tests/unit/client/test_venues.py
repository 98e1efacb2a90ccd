import json
import os
from pathlib import Path
from typing import Any

import pytest

from fauxchange.client import Client, venue_at, venue_in
from fauxchange.domain.errors import ConfigurationError, NotFound


def write_ready(folder: Path, **members: Any) -> None:
    document = {
        "http": "http://127.0.0.1:8080/",
        "grpc": "127.0.0.1:9080",
        "audit": None,
        "pid": os.getpid(),
        **members,
    }
    (folder / "ready.json").write_text(json.dumps(document))


def test_a_running_venue_is_found_with_its_demo_account_and_its_admin_key(tmp_path: Path) -> None:
    demo = {"account_id": "3", "api_key": "key-1", "api_secret": "secret-1"}
    write_ready(tmp_path, demo=demo, admin_key="admin-1")

    venue = venue_in(tmp_path)

    assert (venue.url, venue.admin_key) == ("http://127.0.0.1:8080", "admin-1")
    assert venue.credentials is not None
    assert (venue.credentials.api_key, venue.credentials.api_secret) == ("key-1", "secret-1")
    assert "secret-1" not in repr(venue)
    assert "admin-1" not in repr(venue)


def test_a_venue_without_a_demo_account_may_be_asked_what_is_public(tmp_path: Path) -> None:
    write_ready(tmp_path)

    venue = venue_in(tmp_path)

    assert (venue.credentials, venue.admin_key) == (None, None)


def test_streams_find_a_venue_that_was_started_again_elsewhere(tmp_path: Path) -> None:
    write_ready(tmp_path)
    venue = venue_in(tmp_path)

    write_ready(tmp_path, http="http://127.0.0.1:9999")

    assert venue.current_url() == "http://127.0.0.1:9999"


def test_a_folder_without_a_venue_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as raised:
        Client.from_ready(tmp_path)

    assert raised.value.code == "not_running"


def test_a_key_without_its_secret_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="together"):
        venue_at("http://127.0.0.1:8080", api_key="key-1")
