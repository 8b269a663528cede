"""Free loopback addresses and ports."""

import socket
from types import SimpleNamespace

import pytest

from lab.host import addresses


def test_a_port_that_is_taken_everywhere_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(addresses, "GATEWAY_PORT", port)
        with pytest.raises(addresses.AddressError, match=str(port)):
            addresses.free_subnet()


def test_a_preferred_port_that_is_taken_is_replaced() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        assert addresses.free_port(preferred=taken) != taken
    assert addresses.free_port(preferred=taken) == taken


def test_a_subnet_in_use_is_known() -> None:
    subnet = addresses.free_subnet()
    with socket.create_server((f"{subnet}.1", 0)):
        assert subnet in addresses.listening_subnets()


def test_two_that_choose_at_once_choose_differently() -> None:
    """Neither listens anywhere yet."""
    preferred = addresses.free_port()
    one, other = addresses.Claims(), addresses.Claims()
    try:
        assert one.port(preferred=preferred) == preferred
        assert other.port(preferred=preferred) != preferred
        assert one.subnet() != other.subnet()
    finally:
        one.let_go()
    try:
        assert other.port(preferred=preferred) == preferred, "it was let go"
    finally:
        other.let_go()


def test_the_same_subnet_is_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter((20, 30, 20, 30, 20, 31))
    numbers = SimpleNamespace(randint=lambda least, most: next(drawn))
    monkeypatch.setattr(addresses, "random", SimpleNamespace(SystemRandom=lambda: numbers))
    monkeypatch.setattr(addresses, "listening_subnets", set)
    one, other = addresses.Claims(), addresses.Claims()
    try:
        assert (one.subnet(), other.subnet()) == ("127.20.30", "127.20.31")
    finally:
        one.let_go()
        other.let_go()


def test_who_is_to_listen_at_what_is_claimed_can() -> None:
    """And goes on when it is let go."""
    claims = addresses.Claims()
    port = claims.port()
    with socket.create_server(("127.0.0.1", port)):
        claims.let_go()
        assert addresses.is_listening("127.0.0.1", port)
        assert addresses.free_port(preferred=port) != port
