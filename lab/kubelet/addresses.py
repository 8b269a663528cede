"""Pod addresses out of the lab's /24."""

from __future__ import annotations

FIRST, LAST = 10, 254


class AddressesExhausted(Exception):
    """Every pod address of the subnet is in use."""


class Addresses:
    """Hands out `SUBNET.10` to `SUBNET.254` in turn, so that an address rests before it is used again."""

    def __init__(self, subnet: str) -> None:
        self.subnet = subnet
        self._used: set[str] = set()
        self._next = FIRST

    def take(self, wanted: str | None = None) -> str:
        """`wanted` if it is free and in the subnet, else the next free one; AddressesExhausted if none."""
        if wanted and wanted.rpartition(".")[0] == self.subnet and wanted not in self._used:
            self._used.add(wanted)
            return wanted
        for _ in range(FIRST, LAST + 1):
            candidate = f"{self.subnet}.{self._next}"
            self._next = FIRST if self._next == LAST else self._next + 1
            if candidate not in self._used:
                self._used.add(candidate)
                return candidate
        raise AddressesExhausted(f"no free pod address in {self.subnet}.0/24")

    def release(self, address: str) -> None:
        """The address may be handed out again."""
        self._used.discard(address)
