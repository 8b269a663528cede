"""Free loopback addresses: a /24 for each lab, and single ports."""

import random
import socket
import struct
from pathlib import Path

GATEWAY_PORT = 8080
POD_PORT = 8000


class AddressError(Exception):
    """The loopback addresses a lab needs are taken, or the platform has none."""


def free_subnet() -> str:
    """The first two numbers of an unused `127.A.B.0/24`, as "127.A.B"."""
    used = listening_subnets()
    numbers = random.SystemRandom()
    for _ in range(200):
        subnet = f"127.{numbers.randint(16, 250)}.{numbers.randint(1, 250)}"
        if subnet not in used:
            _check_bindable(f"{subnet}.1", GATEWAY_PORT)
            _check_bindable(f"{subnet}.10", POD_PORT)
            return subnet
    raise AddressError("no unused 127.A.B.0/24 was found")


def free_port(address: str = "127.0.0.1", preferred: int = 0) -> int:
    """`preferred` where it is free on `address`, else any free port."""
    for port in (preferred, 0):
        with _probe() as probe:
            try:
                probe.bind((address, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise AddressError(f"no free port on {address}")


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
