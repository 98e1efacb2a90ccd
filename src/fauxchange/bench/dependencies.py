"""The libraries that the venue stands on, imported alone: what starting and memory are compared with."""

import sys

DEPENDENCIES = (
    "uvloop",
    "numpy",
    "litestar",
    "msgspec",
    "uvicorn",
    "httptools",
    "websockets.server",
    "grpc.aio",
    "grpc_health.v1.health_pb2_grpc",
    "grpc_reflection.v1alpha.reflection",
    "google.protobuf.timestamp_pb2",
    "sqlalchemy",
    "sqlite3",
    "pydantic_settings",
    "structlog",
    "prometheus_client",
    "typer",
    "rich.console",
    "yaml",
)
"""The modules that the venue itself imports from them."""

COMPILER = "numba"
"""Imported only where the price model is compiled."""


def import_command(*more: str, then: str = "") -> tuple[str, ...]:
    """Return the command of an interpreter that imports the dependencies and then runs a line of code."""
    lines = [*(f"import {module}" for module in (*DEPENDENCIES, *more)), *([then] if then else [])]
    return sys.executable, "-c", "\n".join(lines)
