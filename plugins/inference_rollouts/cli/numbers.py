"""Numbers that people give at a terminal: what is none, or none that could be meant, is refused in words."""

from __future__ import annotations

import argparse
import math

from inference_rollouts.core.durations import parse_duration

MOST = 1e9  # events a second that a service could have


def rate(text: str) -> float:
    """Events a second."""
    return _between(text, 0.0, MOST)


def share(text: str) -> float:
    """A part of a whole."""
    return _between(text, 0.0, 1.0)


def port(text: str) -> int:
    """Where to listen; 0 is any that is free."""
    if text.isdecimal() and len(text) <= 5 and int(text) < 2**16:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port: a whole number from 0 to 65535")


def duration(text: str) -> float:
    """Seconds, of text such as `90s`, `5m`, `1h30m`."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _between(text: str, least: float, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if least <= value <= most:
        return value
    raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least:g} to {most:g}")
