"""Kubeconfigs as kubectl reads them: one file or several, a context, and the namespace of that."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from inference_rollouts.clients.safe_yaml import safe_load
from inference_rollouts.core.errors import ClusterRefused

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

DEFAULT = "~/.kube/config"
OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""Where a pod finds the namespace that it is in."""


def connect(kubeconfig: str | Path, context: str | None = None) -> ApiClient:
    """The official client of a kubeconfig's cluster, in its current context unless one is given.

    `kubeconfig` may be several files, separated as in a PATH: those that exist count as one, and the first
    that says so has the word. Where none exists, in a pod, the client is that of the pod's own cluster and
    ServiceAccount. Raises ConfigException for a file that is missing or says nothing.
    """
    from kubernetes.client import ApiClient, Configuration
    from kubernetes.config import ConfigException, load_incluster_config, new_client_from_config

    if _in_a_pod(kubeconfig):
        load_incluster_config(configuration := Configuration())
        return ApiClient(configuration)
    if not _exists(kubeconfig):
        raise ConfigException(f"there is no kubeconfig {kubeconfig}")
    return new_client_from_config(config_file=str(kubeconfig), context=context or _current(kubeconfig))


def namespace_of(kubeconfig: str | Path, context: str | None = None) -> str:
    """The namespace of a context, in a pod without a kubeconfig its own; `default` where neither says one.

    Raises ClusterRefused where the kubeconfig, or the context in it, cannot be read.
    """
    from kubernetes.config import list_kube_config_contexts

    if _in_a_pod(kubeconfig):
        return _own_namespace()
    if not _exists(kubeconfig):
        raise ClusterRefused(f"There is no kubeconfig {kubeconfig}, so no cluster was asked.")
    try:
        contexts, current = list_kube_config_contexts(str(kubeconfig))
        name = context or _current(kubeconfig) or current["name"]
        chosen = [each for each in contexts if each["name"] == name]
        if chosen:
            return str((chosen[0].get("context") or {}).get("namespace") or "default")
    except Exception as error:  # a file that anybody has written
        words = " ".join(str(error).split())
        raise ClusterRefused(f"The kubeconfig {kubeconfig} cannot be read: {words}") from error
    raise ClusterRefused(f"The kubeconfig {kubeconfig} has no context {name}.")


def _in_a_pod(kubeconfig: str | Path) -> bool:
    return "KUBERNETES_SERVICE_HOST" in os.environ and not _exists(kubeconfig)


def _exists(kubeconfig: str | Path) -> bool:
    return bool(_files(kubeconfig))


def _files(kubeconfig: str | Path) -> list[Path]:
    """Those that are there."""
    paths = [Path(file).expanduser() for file in str(kubeconfig).split(os.pathsep) if file]
    return [path for path in paths if path.exists()]


def _current(kubeconfig: str | Path) -> str | None:
    """The current context of several files: the official client takes the last one's, kubectl the first's."""
    files = _files(kubeconfig)
    if len(files) < 2:
        return None
    said = (safe_load(file.read_text(encoding="utf-8")) for file in files)
    return next((name for each in said if (name := (each or {}).get("current-context"))), None)


def _own_namespace() -> str:
    try:
        return OWN_NAMESPACE.read_text(encoding="utf-8").strip() or "default"
    except OSError:
        return "default"
