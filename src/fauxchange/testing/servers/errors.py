"""What keeps a test server from being used."""

from fauxchange.domain.errors import Unavailable

SKIP_MISSING = "FAUXCHANGE_TEST_SKIP_MISSING"


class ServerMissing(Unavailable):
    """There is no such server to test against; the message says where it was looked for and what to do."""

    code = "test_server_missing"
    retryable = False

    def __init__(self, name: str, tried: list[str], remedy: str) -> None:
        self.name = name
        looked = "".join(f"\n  - {place}" for place in tried)
        super().__init__(
            f"no {name} to test against:{looked}\n{remedy}\n"
            f"{SKIP_MISSING}=1 skips the tests that need it, and counts them."
        )


class ServerFailed(Unavailable):
    """A test server did not start, or did not do what it was told; the message has the end of its log."""

    code = "test_server_failed"
    retryable = False
