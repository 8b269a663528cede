"""How pods end: whether answers that run have the time that their server wants to finish them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from inference_rollouts.core.objects.k8s import K8sObject, part, parts, title_of
from inference_rollouts.core.objects.workload_kinds import endpoint_template, servers_among
from inference_rollouts.core.serving.engines import vllm

GRACE = 30  # seconds that Kubernetes gives a pod that does not say
_SLEEP = re.compile(r"\bsleep\s+(\d+)(?:\.\d+)?(s|m)?(?![\w.])")


def cut_short(manifests: Iterable[K8sObject]) -> Iterator[str]:
    """A sentence for each workload of servers whose pods are killed before they have drained."""
    for workload in servers_among(manifests):
        pod = part(endpoint_template(workload), "spec")
        given = pod.get("terminationGracePeriodSeconds")
        grace = GRACE if given is None else int(given)
        needed = max((_drain(each) for each in parts(pod, "containers")), default=0)
        if needed and grace <= needed:
            yield (
                f"{title_of(workload)}: its pods need {needed} s to end (what preStop sleeps, and then the "
                f"server's own limit) and are killed after {grace} s: answers that run then are cut off. "
                "Raise terminationGracePeriodSeconds above that"
            )


def _drain(container: K8sObject) -> int:
    """Seconds that a container takes to end at most, as far as it says; what preStop does comes first."""
    hook = part(container, "lifecycle", "preStop")
    slept = int(part(hook, "sleep").get("seconds") or 0)
    script = " ".join(map(str, part(hook, "exec").get("command") or ()))
    for number, unit in _SLEEP.findall(script):
        slept += int(number) * (60 if unit == "m" else 1)
    return slept + (vllm.shutdown_timeout(container) or 0)
