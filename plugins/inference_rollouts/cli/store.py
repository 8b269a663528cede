"""The metrics store that a command asks: an address, and with what."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from inference_rollouts.cli.secrets import text_of
from inference_rollouts.clients.bearer import METADATA_SERVER, Access
from inference_rollouts.clients.prometheus import PrometheusClient
from inference_rollouts.core.errors import PlanInvalid


def add_store(parser: argparse.ArgumentParser, help: str, *, required: bool = False) -> None:
    """`--prometheus` with this help, and by what it is asked: a token in a file, or those of an identity."""
    parser.add_argument("--prometheus", metavar="URL", required=required, help=help)
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument(
        "--prometheus-token-file", type=Path, metavar="FILE", help="what it gets as bearer token"
    )
    asked.add_argument(
        "--prometheus-workload-identity",
        action="store_true",
        help="ask it with tokens of the identity that this runs as, which Google's metadata server gives",
    )


def store_of(arguments: argparse.Namespace) -> PrometheusClient | None:
    """The store that the arguments name, None where they name none.

    Raises PlanInvalid for an address that is none, a token without one, or a file that cannot be read now.
    Later it is read anew whenever the store refuses what was in it.
    """
    url: str = (arguments.prometheus or "").rstrip("/")
    if not url:
        if arguments.prometheus_token_file or arguments.prometheus_workload_identity:
            raise PlanInvalid("Who is asked with that token? Name the metrics store with --prometheus.")
        return None
    if not url.startswith(("http://", "https://")):
        raise PlanInvalid(f"--prometheus {url} is no address: it begins with http:// or https://.")
    text_of(arguments.prometheus_token_file)
    return PrometheusClient(partial(_access, url, arguments))


def _access(url: str, arguments: argparse.Namespace) -> Access:
    identity = METADATA_SERVER if arguments.prometheus_workload_identity else ""
    return Access(url, text_of(arguments.prometheus_token_file), identity, "--prometheus-token-file")
