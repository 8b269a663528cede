"""How a picker's pod is told what to do, and where it listens."""

from __future__ import annotations

from lab.kube.objects import Obj

GRPC_PORT = 9002
METRICS_PORT = 9090
FLAGS = ("--pool-name", "--pool-namespace")


def pool_of(pod: Obj) -> tuple[str, str] | None:
    """`(namespace, name)` of the pool that a picker pod is for; None if the pod is no picker."""
    flags = {}
    for container in pod["spec"]["containers"]:
        for argument in container.get("args") or []:
            flag, _, value = argument.partition("=")
            if flag in FLAGS:
                flags[flag] = value
    if "--pool-name" not in flags:
        return None
    return flags.get("--pool-namespace", pod["metadata"]["namespace"]), flags["--pool-name"]
