"""Unschedulable Pods -> Nodes: provisioning that can be slow, short of stock, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta

from lab.controllers.node_templates import CONFIG, Template, count, offers
from lab.controllers.nodes import NOT_READY
from lab.controllers.placement import place
from lab.kube.client import KubeError
from lab.kube.clock import age, created, now
from lab.kube.conditions import find
from lab.kube.objects import Obj
from lab.reconcile.loop import Loop
from lab.reconcile.store import Store

COMPONENT = MANAGER = "cluster-autoscaler"
SCALE_UPS = "inference-rollouts.dev/scale-ups"
TELL_AGAIN = 60.0
GATHER = 0.2  # seconds in which pods that come together are counted together

News = tuple[Obj, str, str, str]


class Autoscaler:
    """Makes nodes by the templates in ConfigMap CONFIG of namespace `home`; does nothing without it.

    A ComputeClass offers the templates that it names, in its order, to the pods that ask for it.

    What it has ordered it remembers in an annotation of the ConfigMap, so that a restart delays nothing.
    """

    def __init__(
        self, store: Store, home: str, lab: str | None = None, clock: Callable[[], datetime] = now
    ) -> None:
        self._store = store
        self._home = home
        self._lab = lab
        self._clock = clock
        self._told: dict[tuple[str, str], datetime] = {}
        self.loop: Loop[str] = Loop("autoscaler", lambda _: self.scan())
        for kind in ("Pod", "Node", "ConfigMap", "ComputeClass"):
            store.on_change(kind, lambda _: self.loop.add_after("scan", GATHER))

    async def scan(self) -> float | None:
        """Make the nodes that are due, order those that are missing; seconds until there is more to do."""
        config = self._store["ConfigMap"].get(self._home, CONFIG)
        if config is None:
            return None
        templates = await self._templates(config)
        before = _scale_ups(config)
        after = {name: order for name, order in before.items() if _stands(order, templates)}
        for name in [name for name, order in after.items() if age(order["due"], self._clock()) >= 0]:
            await self._make(config, templates[after.pop(name)["template"]].node(name, self._lab))
        ordered, news = self._plan(templates, {name: order["template"] for name, order in after.items()})
        for name, template in ordered.items():
            due = self._clock() + timedelta(seconds=template.seconds)
            after[name] = {"template": template.name, "due": due.isoformat()}
        if after != before:
            annotations = {SCALE_UPS: json.dumps(after) if after else None}
            await self._store.patch(config, {"metadata": {"annotations": annotations}}, MANAGER)
        for each in news:
            await self._tell(*each)
        waits = [max(0.0, -age(order["due"], self._clock())) for order in after.values()]
        return min([*waits, *([TELL_AGAIN] if news else [])], default=None)

    async def _templates(self, config: Obj) -> dict[str, Template]:
        templates = {}
        for name, text in sorted((config.get("data") or {}).items()):
            try:
                templates[name] = Template.read(name, text)
            except (ValueError, TypeError) as error:
                await self._tell(config, "Warning", "InvalidTemplate", f"{name}: {error}")
        classes = sorted(
            self._store["ComputeClass"].items.values(), key=lambda each: each["metadata"]["name"]
        )
        offered = [
            each for compute_class in classes for each in offers(compute_class, list(templates.values()))
        ]
        return templates | {each.name: each for each in offered}

    async def _make(self, config: Obj, node: Obj) -> None:
        if self._store["Node"].get("", node["metadata"]["name"]):
            return
        try:
            await self._store.create(node, MANAGER)
        except KubeError as error:
            await self._tell(config, "Warning", "FailedToCreateNode", error.message)
            raise

    def _plan(
        self, templates: Mapping[str, Template], coming: Mapping[str, str]
    ) -> tuple[dict[str, Template], list[News]]:
        """The nodes to order, by name, and what to tell about the pods that wait."""
        pods = list(self._store["Pod"].items.values())
        nodes = [_once_ready(node) for node in self._store["Node"].items.values()]
        nodes += [templates[template].node(name) for name, template in coming.items()]
        before = {name: count(nodes, name) for name in templates}
        ordered: dict[str, Template] = {}
        news: list[News] = []
        helped: list[tuple[Obj, Template]] = []
        for pod in sorted(filter(_is_unschedulable, pods), key=created):
            target = place(pod, nodes, pods).node
            if target is None:
                template, failures = _choose(pod, templates, nodes)
                news += failures
                if template is None:
                    continue
                target = _free_name(template.name, nodes)
                ordered[target] = template
                nodes.append(template.node(target))
            pods.append({**pod, "spec": {**pod["spec"], "nodeName": target}})
            if target in ordered:
                helped.append((pod, ordered[target]))
        for pod, template in helped:
            limit = "" if template.stock is None else f" (max: {template.stock})"
            grown = f"{template.name} {before[template.name]}->{count(nodes, template.name)}{limit}"
            news.append((pod, "Normal", "TriggeredScaleUp", f"pod triggered scale-up: [{{{grown}}}]"))
        return ordered, news

    async def _tell(self, about: Obj, kind: str, reason: str, message: str) -> None:
        """Record an Event, at most once in TELL_AGAIN seconds."""
        moment, news = self._clock(), (about["metadata"]["uid"], message)
        last = self._told.get(news)
        if last is None or (moment - last).total_seconds() >= TELL_AGAIN:
            self._told[news] = moment
            await self._store.event(about, kind, reason, message, COMPONENT)


def _scale_ups(config: Obj) -> dict[str, dict[str, str]]:
    with suppress(ValueError):
        return dict(json.loads((config["metadata"].get("annotations") or {}).get(SCALE_UPS, "{}")))
    return {}


def _stands(order: Mapping[str, str], templates: Mapping[str, Template]) -> bool:
    """Whether an order will be met: its template is still there, and not refused by now."""
    template = templates.get(order["template"])
    return template is not None and not template.refused


def _choose(
    pod: Obj, templates: Mapping[str, Template], nodes: list[Obj]
) -> tuple[Template | None, list[News]]:
    """The first template that the pod fits on and that can be had, and what failed before."""
    failures: list[News] = []
    fitting = [each for each in templates.values() if place(pod, [each.node(each.name)], []).node]
    for template in fitting:
        obstacle = template.obstacle(nodes)
        if not obstacle:
            return template, failures
        zone = template.labels.get("topology.kubernetes.io/zone", template.name)
        text = f"Node scale up in zones {zone} associated with this pod failed: {obstacle}."
        failures.append((pod, "Warning", "FailedScaleUp", f"{text} Pod is at risk of not being scheduled."))
    if not fitting:
        why = place(pod, [each.node(each.name) for each in templates.values()], []).message
        reasons = why.partition(": ")[2].partition(". ")[0] or "no node templates"
        failures.append((pod, "Normal", "NotTriggerScaleUp", f"pod didn't trigger scale-up: {reasons}"))
    return None, failures


def _free_name(template: str, nodes: list[Obj]) -> str:
    taken = {node["metadata"]["name"] for node in nodes}
    return next(name for n in range(1, len(nodes) + 2) if (name := f"{template}-{n}") not in taken)


def _is_unschedulable(pod: Obj) -> bool:
    scheduled = find(pod.get("status", {}).get("conditions"), "PodScheduled") or {}
    waits = not pod["spec"].get("nodeName") and "deletionTimestamp" not in pod["metadata"]
    return waits and (scheduled.get("status"), scheduled.get("reason")) == ("False", "Unschedulable")


def _once_ready(node: Obj) -> Obj:
    """A node that has not been lost, as it will be: without the taint that every new node has."""
    ready = find(node.get("status", {}).get("conditions"), "Ready")
    if ready and ready["status"] != "True":
        return node
    taints = [taint for taint in node["spec"].get("taints") or [] if taint["key"] != NOT_READY]
    return {**node, "spec": {**node["spec"], "taints": taints}}
