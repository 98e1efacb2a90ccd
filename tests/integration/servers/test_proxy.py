"""A network that misbehaves on command, between a client and a server."""

import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import redis

from fauxchange.testing.servers import RedisServer, TcpProxy

TIMEOUT_S = 30.0
Wait = Callable[[Callable[[], object]], None]


class Echo(socketserver.ThreadingTCPServer):
    """Answers each message with itself, and remembers what it was sent and how its connections ended."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.endings: list[str] = []
        super().__init__(("127.0.0.1", 0), EchoHandler)

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.socket.getsockname()
        return host, port


class EchoHandler(socketserver.BaseRequestHandler):
    server: Echo

    def handle(self) -> None:
        try:
            while message := self.request.recv(65536):
                self.server.heard.append(message)
                self.request.sendall(message)
            self.server.endings.append("closed")
        except OSError:
            self.server.endings.append("reset")


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[TcpProxy]:
    with TcpProxy(*echo.address) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: TcpProxy) -> Iterator[socket.socket]:
    with connected(proxy) as client:
        assert exchanged(client, b"hello") == b"hello"
        yield client


def connected(proxy: TcpProxy) -> socket.socket:
    return socket.create_connection((proxy.host, proxy.port), TIMEOUT_S)


def exchanged(client: socket.socket, message: bytes) -> bytes:
    client.sendall(message)
    return received(client, len(message))


def heard_last(echo: Echo, message: bytes) -> bool:
    return b"".join(echo.heard).endswith(message)


def received(client: socket.socket, length: int) -> bytes:
    got = b""
    while len(got) < length:
        part = client.recv(length - len(got))
        assert part, "the connection ended early"
        got += part
    return got


def test_bytes_pass_both_ways_and_in_order(client: socket.socket) -> None:
    message = bytes(range(256)) * 2_000
    sender = threading.Thread(target=client.sendall, args=(message,))
    sender.start()

    answer = received(client, len(message))

    sender.join()
    assert answer == message


def test_answers_come_later_by_the_delay(proxy: TcpProxy, client: socket.socket) -> None:
    proxy.delay_s = 0.3
    began_s = time.monotonic()

    answer = exchanged(client, b"slow")

    assert answer == b"slow"
    assert time.monotonic() - began_s >= 0.29
    proxy.delay_s = 0.0
    assert exchanged(client, b"quick") == b"quick"


def test_a_delay_holds_back_each_answer_by_itself_and_not_one_after_the_other(
    proxy: TcpProxy, client: socket.socket, echo: Echo, eventually: Wait
) -> None:
    proxy.delay_s = 1.0
    began_s = time.monotonic()
    for number in range(20):
        client.sendall(b"%02d" % number)
        # One at a time, so that each is an answer of its own.
        eventually(partial(heard_last, echo, b"%02d" % number))

    answer = received(client, 40)

    assert answer == b"".join(b"%02d" % number for number in range(20))
    assert 0.99 <= time.monotonic() - began_s < 15


def test_a_stalled_network_passes_nothing_until_it_flows_again(
    proxy: TcpProxy, client: socket.socket, echo: Echo
) -> None:
    proxy.stall()
    client.sendall(b"held")
    client.settimeout(0.2)

    with pytest.raises(TimeoutError):
        client.recv(1)

    assert echo.heard == [b"hello"]
    client.settimeout(TIMEOUT_S)
    with connected(proxy) as another:
        another.sendall(b"too")
        proxy.flow()
        assert received(client, 4) == b"held"
        assert received(another, 3) == b"too"


def test_a_reset_breaks_what_is_open_on_both_sides_and_nothing_else(
    proxy: TcpProxy, client: socket.socket, echo: Echo, eventually: Wait
) -> None:
    proxy.reset()

    with pytest.raises(ConnectionResetError):
        client.recv(1)
    eventually(lambda: echo.endings == ["reset"])
    with connected(proxy) as another:
        assert exchanged(another, b"again") == b"again"


def test_a_reset_breaks_a_stalled_connection_too(proxy: TcpProxy, client: socket.socket) -> None:
    proxy.stall()
    client.sendall(b"held")

    proxy.reset()

    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_half_closed_the_server_has_said_all_and_still_hears(
    proxy: TcpProxy, client: socket.socket, echo: Echo, eventually: Wait
) -> None:
    proxy.half_close()

    assert client.recv(1) == b""
    client.sendall(b"are you there?")
    eventually(lambda: b"".join(echo.heard) == b"helloare you there?")
    client.close()
    eventually(lambda: proxy.connections == 0)


def test_refused_connections_are_new_ones_alone_until_they_are_accepted_again(
    proxy: TcpProxy, client: socket.socket
) -> None:
    address = proxy.address
    proxy.refuse()
    proxy.refuse()

    with pytest.raises(ConnectionRefusedError):
        connected(proxy)
    assert exchanged(client, b"still here") == b"still here"

    proxy.accept()
    proxy.accept()
    assert proxy.address == address
    with connected(proxy) as another:
        assert exchanged(another, b"again") == b"again"


def test_an_end_on_either_side_is_passed_on(proxy: TcpProxy, echo: Echo, eventually: Wait) -> None:
    with connected(proxy) as client:
        client.sendall(b"last words")
        client.shutdown(socket.SHUT_WR)

        assert received(client, 10) == b"last words"
        assert client.recv(1) == b""

    eventually(lambda: echo.endings == ["closed"])
    eventually(lambda: proxy.connections == 0)


def test_a_client_that_breaks_off_breaks_off_at_the_server(proxy: TcpProxy, echo: Echo, eventually: Wait) -> None:
    client = connected(proxy)
    assert exchanged(client, b"hello") == b"hello"
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()

    eventually(lambda: echo.endings != [])
    eventually(lambda: proxy.connections == 0)


def test_connections_are_counted(proxy: TcpProxy, eventually: Wait) -> None:
    with connected(proxy) as first, connected(proxy) as second:
        assert exchanged(first, b"1") == b"1"
        assert exchanged(second, b"2") == b"2"
        assert (proxy.connections, proxy.accepted) == (2, 2)

    eventually(lambda: proxy.connections == 0)
    assert proxy.accepted == 2


def test_where_no_server_is_connections_are_broken() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with TcpProxy(*unused.getsockname()) as proxy, pytest.raises(ConnectionResetError), connected(proxy) as client:
            client.recv(1)


def test_the_end_of_the_block_ends_connections_and_the_thread(echo: Echo, eventually: Wait) -> None:
    before = threading.active_count()
    with TcpProxy(*echo.address) as proxy:
        client = connected(proxy)
        assert exchanged(client, b"hello") == b"hello"
        port = proxy.port

    with pytest.raises(ConnectionResetError):
        client.recv(1)
    client.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
    eventually(lambda: threading.active_count() <= before)


def test_a_url_leads_through_the_proxy_with_its_credentials(redis_server: RedisServer) -> None:
    host, _, port = redis_server.url.rpartition("@")[2].partition("/")[0].partition(":")
    with TcpProxy(host, int(port)) as proxy:
        with redis.Redis.from_url(proxy.url_through(redis_server.url)) as client:
            assert client.ping()

        assert proxy.accepted >= 1
