"""Who commands at a terminal, and why: what the claim, Events and reports say of it."""

from __future__ import annotations

import argparse
import getpass
import os
import socket


def add_person(parser: argparse.ArgumentParser) -> None:
    """`--reason`, which must be given, and `--who`. The API server's audit log knows who it really was."""
    parser.add_argument("--reason", required=True, help="why: it stands in status, Events and report")
    add_who(parser)


def add_who(parser: argparse.ArgumentParser) -> None:
    """`--who` alone."""
    parser.add_argument("--who", metavar="NAME", default=_user(), help="your name (%(default)s)")


def _user() -> str:
    """A container may run as a user that has no name."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = f"uid {os.getuid()}"
    return f"{name}@{socket.gethostname()}"
