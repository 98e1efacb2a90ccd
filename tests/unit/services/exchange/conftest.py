"""What tests of the exchange share."""

import pytest

from fauxchange.services.exchange.service import links


@pytest.fixture(autouse=True)
def patient_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no link break because the machine stood still: a test that is about silence sets its own."""
    monkeypatch.setattr(links, "SILENCE_S", 60.0)
