"""Free loopback addresses and ports."""

import socket

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
