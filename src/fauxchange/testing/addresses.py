"""Where a venue under test can be reached, and with which key."""

from dataclasses import dataclass

from fauxchange.platform.ready import Ready

STREAM_PATH = "/api/v1/market-data/ws"


@dataclass(frozen=True, slots=True, kw_only=True)
class Venue:
    """The addresses of a running venue. `audit` is empty where the audit API is switched off."""

    http: str
    grpc: str
    audit: str
    audit_key: str

    @classmethod
    def of(cls, ready: Ready) -> "Venue":
        """Return the addresses that a venue wrote into its `ready.json`."""
        return cls(
            http=ready.http, grpc=ready.grpc, audit=ready.audit or "", audit_key=str(ready.secrets.get("audit_key", ""))
        )

    @property
    def websocket(self) -> str:
        """The address of the market-data stream."""
        return f"ws{self.http.removeprefix('http')}{STREAM_PATH}"

    @property
    def audit_headers(self) -> dict[str, str]:
        """The headers that the audit API asks for."""
        return {"authorization": f"Bearer {self.audit_key}"}
