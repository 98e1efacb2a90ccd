"""Listening sockets: bound before anything is served, with errors that say what to change."""

import errno
import socket
from dataclasses import dataclass

from fauxchange.domain.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Where a server is to listen, and what an operator changes to move it.

    Units: port 0 lets the system choose
    """

    host: str
    port: int
    setting: str
    """The setting that names the port, such as `HTTP_PORT`."""
    option: str | None = None
    """The command line's option for it, such as `--http-port`."""

    @property
    def remedy(self) -> str:
        """What to change, in words."""
        return f"set {self.setting}" if self.option is None else f"use {self.option} or set {self.setting}"


def bind(listener: Listener, *, backlog: int = 2048) -> socket.socket:
    """Return a listening socket that does not block.

    Raises: ConfigurationError that says which address cannot be had, why, and what to change
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            listener.host, listener.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as exc:
        raise ConfigurationError(
            f"cannot listen on {listener.host!r}: it is not an address of this machine", field=listener.setting
        ) from exc
    bound = socket.socket(family, kind, protocol)
    try:
        # Without it a restart would have to wait until the last run's connections are forgotten.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
        bound.listen(backlog)
        bound.setblocking(False)
    except OSError as exc:
        bound.close()
        raise ConfigurationError(_reason(listener, exc), field=listener.setting) from exc
    return bound


def bound_address(bound: socket.socket) -> tuple[str, int]:
    """Return host and port of a bound socket."""
    host, port = bound.getsockname()[:2]
    return str(host), int(port)


def url_host(host: str) -> str:
    """Return `host` as it is written in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def _reason(listener: Listener, exc: OSError) -> str:
    if exc.errno == errno.EADDRINUSE:
        return f"port {listener.port} on {listener.host} is taken by another program; {listener.remedy} to another port"
    if exc.errno == errno.EACCES:
        return f"port {listener.port} on {listener.host} needs privileges; {listener.remedy} to one above 1023"
    if exc.errno == errno.EADDRNOTAVAIL:
        return f"{listener.host} is not an address of this machine, so port {listener.port} cannot be opened there"
    return f"cannot listen on {listener.host} port {listener.port}: {exc.strerror or exc}"
