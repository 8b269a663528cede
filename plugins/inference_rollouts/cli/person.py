"""Who commands at a terminal, and why: what the claim, Events and reports say of it."""

from __future__ import annotations

import argparse
import getpass
import socket


def add_person(parser: argparse.ArgumentParser) -> None:
    """`--reason`, which must be given, and `--who`. The API server's audit log knows who it really was."""
    parser.add_argument("--reason", required=True, help="why: it stands in status, Events and report")
    parser.add_argument("--who", default=_user(), help="your name (%(default)s)")


def _user() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}"
