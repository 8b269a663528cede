"""The addresses of pods."""

from __future__ import annotations

import pytest

from lab.kubelet.addresses import Addresses, AddressesExhausted


def test_addresses_rest_before_they_are_used_again() -> None:
    addresses = Addresses("127.3.4")
    first, second = addresses.take(), addresses.take()
    assert (first, second) == ("127.3.4.10", "127.3.4.11")
    addresses.release(first)
    assert addresses.take() == "127.3.4.12"
    assert addresses.take(first) == first
    assert addresses.take(first) == "127.3.4.13"
    assert addresses.take("10.0.0.1") == "127.3.4.14"


def test_addresses_run_out() -> None:
    addresses = Addresses("127.3.4")
    taken = {addresses.take() for _ in range(245)}
    assert len(taken) == 245
    with pytest.raises(AddressesExhausted):
        addresses.take()
    addresses.release("127.3.4.77")
    assert addresses.take() == "127.3.4.77"
