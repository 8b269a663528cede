"""The cluster that a command talks to: a kubeconfig, a context, a namespace."""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

from inference_rollouts.clients.kubeconfig import DEFAULT, connect, namespace_of
from inference_rollouts.clients.kubernetes import Cluster, KubernetesCluster


def add_arguments(parser: argparse.ArgumentParser, namespace: str = "the context's, else `default`") -> None:
    """`--kubeconfig`, `--context`, `--namespace`, with the defaults of kubectl.

    `namespace` says which is meant where none is given.
    """
    parser.add_argument(
        "--kubeconfig",
        metavar="FILE",
        default=os.environ.get("KUBECONFIG") or str(Path(DEFAULT).expanduser()),
        help="how to reach the cluster (%(default)s)",
    )
    parser.add_argument("--context", help="the kubeconfig's context (its current one)")
    parser.add_argument("-n", "--namespace", help=f"where to look ({namespace})")


def cluster_of(arguments: argparse.Namespace) -> Cluster:
    """The cluster that the arguments name; it is connected to on first use.

    Where they name no namespace it is the context's, and stands in them from then on. Raises ClusterRefused
    where that is not to be had.
    """
    if not arguments.namespace:
        arguments.namespace = namespace_of(arguments.kubeconfig, arguments.context)
    return KubernetesCluster(partial(connect, arguments.kubeconfig, arguments.context), arguments.namespace)
