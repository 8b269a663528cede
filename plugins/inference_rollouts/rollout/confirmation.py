"""Whether gateways have taken the weights as they are: a write to a route moves nothing by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.limits import CONFIRMATION_DEADLINE, CONFIRMATION_POLL
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.parents import Parent, accepting
from inference_rollouts.core.objects.readiness import Phase, Readiness, route_readiness, worst
from inference_rollouts.core.routing.weights import Target

ParentsOf = Callable[[K8sObject], Sequence[Parent]]


def confirmation(cluster: Cluster, targets: Sequence[Target], parents: ParentsOf = accepting) -> Readiness:
    """Whether all `parents` of the routes among `targets` serve them as they are now.

    What splits an alias is read by pickers, which do not say what they have read. A route that is gone, or
    that nobody served, has nobody to confirm it; a cluster that does not answer is waited for.
    """
    try:
        return worst(_answers(cluster, targets, parents))
    except Exception as error:
        return Readiness(Phase.WAITING, f"the cluster does not answer: {error}")


def await_confirmation(
    ask: Callable[[], Readiness],
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Readiness:
    """The first answer that is ready, or the last one before CONFIRMATION_DEADLINE."""
    deadline = now() + CONFIRMATION_DEADLINE
    while (answer := ask()).phase is not Phase.READY and now() < deadline:
        sleep(CONFIRMATION_POLL)
    return answer


def _answers(cluster: Cluster, targets: Sequence[Target], parents: ParentsOf) -> Iterator[Readiness]:
    yield Readiness(Phase.READY, "all gateways have taken the weights")
    for target in targets:
        if target.kind != "HTTPRoute":
            continue
        if (route := cluster.find(target.api, target.kind, target.name)) and (serving := parents(route)):
            yield route_readiness(route, serving)
