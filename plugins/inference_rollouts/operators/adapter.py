"""Bring a new adapter to every pod of its pool, and hold what splits its alias."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from airflow.sdk.definitions.context import Context

from inference_rollouts.core.errors import NotReady, WarmUpFailed
from inference_rollouts.core.plan.plan import AdapterPlan
from inference_rollouts.operators.base import RolloutOperator, cluster_of, frozen_plan, telling
from inference_rollouts.operators.warm_up import warm_all
from inference_rollouts.rollout import adapters, serving


class LoadAdapter(RolloutOperator):
    """Loads the canary on every ready pod, or on none; then holds the rewrite, at weight 0.

    With `load: lazy` there is nothing to load: each server does it when it is first asked.
    """

    ui_color = "#e6f4ea"

    @telling
    def execute(self, context: Context) -> list[str]:
        """The names of the pods that had to load it."""
        frozen = frozen_plan(context)
        plan = frozen.adapter_plan
        urls = adapters.servers(cluster_of(frozen), plan.pool)
        loaded = self._load(urls, plan) if plan.load == "runtime" else []
        self.traffic(context).attach()
        return loaded

    def _load(self, urls: dict[str, str], plan: AdapterPlan) -> list[str]:
        with ThreadPoolExecutor(adapters.AT_ONCE) as threads:
            tried = {name: threads.submit(adapters.bring, name, urls[name], plan) for name in urls}
        errors = [error for future in tried.values() if (error := future.exception())]
        loaded = sorted(name for name, future in tried.items() if not future.exception() and future.result())
        if not errors:
            return loaded
        adapters.unload([urls[name] for name in loaded], plan.canary)
        refusal = next((error for error in errors if isinstance(error, NotReady)), None)
        if refusal is None:
            raise errors[0]
        raise NotReady(
            f"{refusal} Pods that had loaded it unload it again; no traffic was moved."
        ) from refusal


class WarmUpAdapter(RolloutOperator):
    """Asks each pod for the canary until its answers are valid and its latency is steady."""

    ui_color = "#fef7e0"

    @telling
    def execute(self, context: Context) -> dict[str, float]:
        frozen = frozen_plan(context)
        plan = frozen.adapter_plan
        urls = adapters.servers(cluster_of(frozen), plan.pool)
        for name, url in urls.items():
            adapters.bring(name, url, plan)
        ttfts = warm_all(urls, plan.canary, plan)
        if lacking := [name for name, url in urls.items() if not adapters.is_loaded(url, plan.canary)]:
            raise WarmUpFailed(
                f"Pods {', '.join(lacking)} answer as {plan.canary} but do not list it in /v1/models; "
                "nobody knows what they answer with. No traffic was moved."
            )
        compare(urls, plan)
        return ttfts


def compare(urls: Mapping[str, str], plan: AdapterPlan) -> None:
    """Every pod answers the golden prompts as canary as one of them does as stable. Raises WarmUpFailed."""
    how = plan.warm_up
    try:
        answers = serving.references(*next(iter(urls.items())), plan.stable, how)
        serving.on_each(urls, lambda pod, url: serving.require_alike(pod, url, plan.canary, how, answers))
    except WarmUpFailed as error:
        raise WarmUpFailed(f"{error}; no traffic was moved to {plan.canary}.") from error
