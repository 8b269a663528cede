"""Watches every rollout of a namespace that nobody else watches, and ends those that nobody drives any more.

It needs the cluster and, to see storms of errors, the metrics store: no Airflow, no plan. Any number of
guardians may run; `--once` makes one round and ends, for cron.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from inference_rollouts.cli.cluster import add_arguments, cluster_of
from inference_rollouts.cli.herald import Herald
from inference_rollouts.cli.numbers import port
from inference_rollouts.cli.probes import Probes
from inference_rollouts.cli.secrets import text_of
from inference_rollouts.cli.store import add_store, store_of
from inference_rollouts.clients.prometheus import PrometheusClient
from inference_rollouts.clients.webhook import Receiver
from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.limits import GUARDIAN_PATIENCE, GUARDIAN_POLL
from inference_rollouts.rollout.guardian import Guardian, Round
from inference_rollouts.rollout.watching import holder

log = logging.getLogger(__name__)


def add_parser(commands: Any) -> None:
    """Add `guardian` to the commands, as `ArgumentParser.add_subparsers` gives them."""
    parser = commands.add_parser(
        "guardian", help="watch and end rollouts that nobody else does", description=__doc__
    )
    add_store(parser, "the metrics store; without it no storm is seen")
    parser.add_argument("--once", action="store_true", help="make one round and end")
    parser.add_argument("--port", type=port, metavar="N", help="serve /healthz and /metrics there")
    parser.add_argument("--address", default="127.0.0.1", help="where --port listens (127.0.0.1)")
    parser.add_argument(
        "--webhook-file",
        type=Path,
        metavar="FILE",
        help="tell people by CloudEvents of what it has to do, to the address in FILE",
    )
    parser.add_argument(
        "--webhook-token-file", type=Path, metavar="FILE", help="what that receiver gets as bearer token"
    )
    add_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0; with `--once` 1 when the round could not be made. Raises PlanInvalid; ClusterRefused."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    name = f"guardian {os.environ['POD_NAME']}" if "POD_NAME" in os.environ else holder("guardian")
    patience = math.inf if arguments.once else GUARDIAN_PATIENCE
    herald, store = _herald(arguments), _prometheus(arguments)
    guardian = Guardian(cluster_of(arguments), store, name, patience=patience)
    if arguments.once:
        seen = _round(guardian)
        herald.tell(seen, wait=True)
        return 0 if seen else 1
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log.info("%s watches namespace %s", name, arguments.namespace)
    with Probes(arguments.address, arguments.port) as probes:
        _watch(guardian, probes, herald, stop)
    return 0


def _watch(guardian: Guardian, probes: Probes, herald: Herald, stop: threading.Event) -> None:
    """Round after round until told to stop. A round that is late is not made up for."""
    while not stop.is_set():
        began = time.monotonic()
        seen = _round(guardian)
        probes.tell(seen)
        herald.tell(seen)
        stop.wait(max(0.0, began + GUARDIAN_POLL - time.monotonic()))


def _round(guardian: Guardian) -> Round | None:
    try:
        return guardian.round()
    except Exception as error:
        log.warning("nothing is known of the rollouts: %s", error)
        return None


def _herald(arguments: argparse.Namespace) -> Herald:
    """Raises PlanInvalid where the file has no address, one cannot be read, or a token is for nobody."""
    if arguments.webhook_file is None:
        if arguments.webhook_token_file:
            raise PlanInvalid("Who gets --webhook-token-file? Name the receiver with --webhook-file.")
        return Herald(None)
    token = text_of(arguments.webhook_token_file)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    receiver = Receiver(text_of(arguments.webhook_file), headers, name="--webhook-file")
    receiver.check()
    return Herald(receiver)


def _prometheus(arguments: argparse.Namespace) -> PrometheusClient | None:
    store = store_of(arguments)
    if store is None:
        log.warning("without --prometheus no storm is seen; pods and conditions are")
    return store
