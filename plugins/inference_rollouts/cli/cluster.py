"""The cluster that a command talks to: a kubeconfig, a context, a namespace."""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

from inference_rollouts.clients.kubernetes import Cluster, KubernetesCluster, connect


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`--kubeconfig`, `--context`, `--namespace`, with the defaults of kubectl."""
    default = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0] or "~/.kube/config"
    parser.add_argument(
        "--kubeconfig",
        type=Path,
        metavar="FILE",
        default=Path(default).expanduser(),
        help="how to reach the cluster (%(default)s)",
    )
    parser.add_argument("--context", help="the kubeconfig's context (its current one)")
    parser.add_argument("-n", "--namespace", default="default", help="where to look (default)")


def cluster_of(arguments: argparse.Namespace) -> Cluster:
    """The cluster that the arguments name; it is connected to on first use."""
    return KubernetesCluster(partial(connect, arguments.kubeconfig, arguments.context), arguments.namespace)
