"""Checks a plan against a cluster and says what a rollout would do; writes nothing.

It is what preflight does in Airflow, and the server's own dry run of every manifest. Model servers are asked
at their pods' addresses, as preflight asks them, so it runs where these can be reached.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from inference_rollouts.cli.cluster import add_arguments, cluster_of
from inference_rollouts.cli.secrets import text_of
from inference_rollouts.cli.store import add_store, store_of
from inference_rollouts.clients import Clients
from inference_rollouts.clients.bearer import METADATA_SERVER, Access
from inference_rollouts.clients.gke import API, GkeClient
from inference_rollouts.clients.include import load_plan
from inference_rollouts.clients.model_server import HttpModelServers
from inference_rollouts.clients.registry import RegistryAccess, RegistryClient
from inference_rollouts.core.errors import (
    PassingError,
    PlanInvalid,
    PrometheusUnavailable,
    RolloutError,
    RouteRefused,
)
from inference_rollouts.core.reporting.forecast import Forecast, markdown
from inference_rollouts.core.run.versioned import with_version
from inference_rollouts.core.versions.version import Version, parse_version
from inference_rollouts.kinds import kind_of
from inference_rollouts.preflight import calendar
from inference_rollouts.preflight.current import with_current
from inference_rollouts.preflight.forecast import forecast
from inference_rollouts.preflight.named import require_named
from inference_rollouts.rollout.busy_store import patient
from inference_rollouts.rollout.common_time import time_of
from inference_rollouts.rollout.run import Run


class LocalFiles:
    """A Storage of files on this machine; those behind other URLs only Airflow's connections lead to."""

    def read_json(self, url: str) -> dict[str, Any]:
        try:
            value = json.loads(Path(url.removeprefix("file://")).read_text())
        except (OSError, ValueError) as error:
            raise PlanInvalid(f"{url} cannot be read here: {error}") from error
        if not isinstance(value, dict):
            raise PlanInvalid(f"{url} holds no JSON object.")
        return value

    def write(self, folder: str, name: str, parts: Iterable[str]) -> None:
        raise AssertionError("a plan is only checked")


def add_parser(commands: Any) -> None:
    """Add `plan FILE` to the commands, as `ArgumentParser.add_subparsers` gives them."""
    parser = commands.add_parser("plan", help="say what a plan's rollout would do", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="the plan's file")
    add_store(parser, "the metrics store", required=True)
    parser.add_argument(
        "--model-server-key-file", type=Path, metavar="FILE", help="the model servers' API key"
    )
    parser.add_argument("--candidate", metavar="VERSION", help="of a plan with versions: the one to look at")
    add_arguments(parser, namespace="the plan's")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 when it could start now, 1 when it is refused, 2 when nobody knows: something does not answer."""
    try:
        print(markdown(_forecast(arguments)))
    except (PassingError, PrometheusUnavailable) as error:
        print(f"{str(error).rstrip('.')}. Nothing was written, and nothing is known.", file=sys.stderr)
        return 2
    except RolloutError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _forecast(arguments: argparse.Namespace) -> Forecast:
    plan = load_plan(arguments.file)
    if arguments.namespace:
        plan = plan.model_copy(update={"namespace": arguments.namespace})
    arguments.namespace = plan.namespace
    require_named(plan)
    clients = patient(clients_of(arguments))
    if plan.versions:
        plan = with_version(plan, _candidate(arguments.candidate))
    named, now = with_current(clients.cluster, plan), time_of(clients.cluster)
    if named is None:
        raise RouteRefused(f"{plan.canary} has all traffic already: there is nothing new.")
    when = calendar.calendar_of(named)
    calendar.check(named, when, now)
    frozen = replace(kind_of(named).freeze(clients, f"{named.dag_id}/dry-run"), calendar=when)
    return forecast(Run(frozen, clients, kind_of(frozen.plan)), now)


def _candidate(text: str | None) -> Version:
    """The version that a person wants to know of."""
    if version := parse_version(text or ""):
        return version
    raise PlanInvalid("The plan has versions: name one with --candidate NAME@sha256:... .")


def clients_of(arguments: argparse.Namespace) -> Clients:
    """Everything that the arguments lead to; GKE is asked as the identity of this machine."""
    key = text_of(arguments.model_server_key_file)
    store = store_of(arguments)
    if store is None:
        raise PlanInvalid("Name the metrics store with --prometheus: a plan is checked against it.")
    google = Access(API, metadata_server=METADATA_SERVER, name="")
    return Clients(
        cluster=cluster_of(arguments),
        prometheus=store,
        servers=HttpModelServers(key=lambda: key),
        storage=LocalFiles(),
        gke=lambda cluster: GkeClient(lambda: google, cluster),
        registry=RegistryClient(lambda: RegistryAccess("")),
    )
