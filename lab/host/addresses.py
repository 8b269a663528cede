"""Free loopback addresses: a /24 for each lab, and single ports."""

import random
import socket
import struct
from pathlib import Path

GATEWAY_PORT = 8080
POD_PORT = 8000
TRIES = 200


class AddressError(Exception):
    """The loopback addresses a lab needs are taken, or the platform has none."""


class Claims:
    """Addresses that are chosen here and by nobody else, from then until they are `let_go`: by then somebody
    listens there. They go with the process, too.

    A claim is a name that is bound. The port itself may be bound by whoever is to listen there, and by
    another who looks whether it is free: that alone keeps none of two from choosing it.
    """

    def __init__(self) -> None:
        self._held: list[socket.socket] = []

    def port(self, address: str = "127.0.0.1", preferred: int = 0) -> int:
        """`preferred` where it is free on `address`, else any free port."""
        for port in (preferred, *[0] * TRIES):
            probe = _probe()
            try:
                probe.bind((address, port))
            except OSError:
                probe.close()
                continue
            found = int(probe.getsockname()[1])
            if self._claim(f"{address}:{found}"):
                self._held.append(probe)  # the system gives it to nobody who wants any
                return found
            probe.close()
        raise AddressError(f"no free port on {address}")

    def subnet(self) -> str:
        """The first two numbers of an unused `127.A.B.0/24`, as "127.A.B"."""
        used = listening_subnets()
        numbers = random.SystemRandom()
        for _ in range(TRIES):
            subnet = f"127.{numbers.randint(16, 250)}.{numbers.randint(1, 250)}"
            if subnet not in used and self._claim(subnet):
                _check_bindable(f"{subnet}.1", GATEWAY_PORT)
                _check_bindable(f"{subnet}.10", POD_PORT)
                return subnet
        raise AddressError("no unused 127.A.B.0/24 was found")

    def let_go(self) -> None:
        """Others may choose what is not listened at."""
        while self._held:
            self._held.pop().close()

    def _claim(self, name: str) -> bool:
        """Whether nobody else has."""
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0inference-rollouts-lab/{name}")
        except OSError:
            claim.close()
            return False
        self._held.append(claim)
        return True


def free_subnet() -> str:
    """One for who is alone, as a test: it is not kept from others."""
    claims = Claims()
    try:
        return claims.subnet()
    finally:
        claims.let_go()


def free_port(address: str = "127.0.0.1", preferred: int = 0) -> int:
    """The same of a port."""
    claims = Claims()
    try:
        return claims.port(address, preferred)
    finally:
        claims.let_go()


def is_listening(address: str, port: int) -> bool:
    """True if something accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0


def _probe() -> socket.socket:
    """Refused only by what listens, not by connections that linger after their end."""
    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return probe


def _check_bindable(address: str, port: int) -> None:
    with _probe() as probe:
        try:
            probe.bind((address, port))
        except OSError as error:
            raise AddressError(
                f"the lab needs port {port} on loopback addresses of its own, but {address}:{port} cannot be "
                f"used ({error.strerror}); a program that listens on 0.0.0.0:{port} takes it everywhere"
            ) from error


def listening_subnets() -> set[str]:
    """Every /24, written "A.B.C", in which some socket is bound or connected."""
    rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    locals_ = (row.split()[1].split(":")[0] for row in rows)
    addresses = (socket.inet_ntoa(struct.pack("=I", int(word, 16))) for word in locals_)
    return {address.rpartition(".")[0] for address in addresses}
