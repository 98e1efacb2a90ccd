"""An exchange for tests of clients: a real port, answers from a table, and a record of what was asked."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TIME = "2026-01-31T12:00:00.000000Z"

ORDER: dict[str, Any] = {
    "order_id": "17",
    "client_order_id": "my-1",
    "account_id": "3",
    "symbol": "BTC/USD",
    "side": "buy",
    "type": "limit",
    "time_in_force": "GTC",
    "status": "FILLED",
    "quantity": "0.01000",
    "filled_quantity": "0.01000",
    "remaining_quantity": "0.00000",
    "quote_quantity": None,
    "price": "60000.00",
    "stop_price": None,
    "display_quantity": None,
    "average_price": "59999.50",
    "post_only": False,
    "self_trade_prevention": "none",
    "triggered": False,
    "fee": "1.20",
    "fee_asset": "USD",
    "reason": None,
    "verdict": None,
    "replaces": None,
    "expires_at": None,
    "created_at": TIME,
    "updated_at": TIME,
    "fills": [],
}
ACCOUNT = {
    "account_id": "5",
    "name": "my bot",
    "tier": 0,
    "status": "active",
    "created_at": TIME,
    "updated_at": TIME,
}
BALANCES = {"account_id": "3", "balances": [{"asset": "USD", "free": "12.30", "held": "0.70"}]}
TRANSFER = {
    "transfer_id": "1",
    "account_id": "5",
    "asset": "USD",
    "amount": "100.00",
    "free": "100.00",
    "held": "0.00",
    "timestamp": TIME,
}


class FakeExchange:
    """Answers by `METHOD path`; what is not in the table is not found."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        exchange = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                length = int(self.headers.get("content-length", 0))
                body = json.loads(self.rfile.read(length)) if length else None
                headers = {name.lower(): value for name, value in self.headers.items()}
                exchange.asked.append((f"{self.command} {self.path}", headers, body))
                status, document = exchange.answers.get(
                    f"{self.command} {self.path.partition('?')[0]}", (404, {"code": "not_found", "detail": "nothing"})
                )
                payload = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815 - names that the library looks for

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def lines(self) -> list[str]:
        return [line.replace("/api/v1", "") for line, _, _ in self.asked]
