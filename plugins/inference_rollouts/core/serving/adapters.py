"""LoRA adapters: what model servers answer for, and whether new ones can answer for the same."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.serving.engines import vllm
from inference_rollouts.core.values import Model, Text


class Adapter(Model):
    """A LoRA adapter that the new model servers load."""

    name: Annotated[str, Field(max_length=253, pattern=r"^[^\s=\x00-\x1f]+$")]
    """The adapter's name, as clients ask for it."""
    path: Text
    """Where the model servers find it: a folder, or a model on a hub."""
    config: Text | None = None
    """Where preflight reads its adapter_config.json: any URL of Airflow's object storage. Without it only
    loading shows whether the adapter fits."""


class Lora(Model):
    """How the new model servers take adapters, and which fit them.

    The last two are asked for only where an adapter has a `config`.
    """

    load: Literal["args", "api"] = "args"
    """Whether adapters are on the servers' command line, or loaded by the runtime API once the servers are
    up. Default: `args`, as a pod that restarts has them again."""
    bases: tuple[Text, ...] = ()
    """Other names of the workload's `model`, under which adapters may have been trained for it."""
    target_modules: tuple[Text, ...] = vllm.TARGET_MODULES
    """The modules of the model that the servers can adapt. Default: those of the usual transformers in
    vLLM."""


@dataclass(frozen=True, slots=True)
class Served:
    """A name that a model server answers for; an adapter has the base model's name as `parent`.

    `path` is where it was loaded from, `max_model_len` how many tokens prompt and answer may have together,
    as far as the server says.
    """

    name: str
    path: str
    parent: str | None = None
    max_model_len: int | None = field(default=None, compare=False)

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> Served:
        """An entry of `/v1/models`."""
        most = card.get("max_model_len")
        length = most if isinstance(most, int) and most > 0 else None
        return cls(card["id"], card.get("root") or "", card.get("parent") or None, length)


def served_from(body: Any) -> list[Served]:
    """The names in an answer of `/v1/models`. Raises ValueError when it is no list of them, all printable."""
    cards = body.get("data") if isinstance(body, Mapping) else None
    if not isinstance(cards, list) or not all(map(_is_card, cards)):
        raise ValueError("the answer is no list of models")
    return [Served.from_card(card) for card in cards]


def _is_card(card: Any) -> bool:
    if not isinstance(card, Mapping) or not card.get("id"):
        return False
    said = [card[key] for key in ("id", "root", "parent") if card.get(key) is not None]
    return all(isinstance(name, str) and name.isprintable() for name in said)


Seen = Mapping[str, Sequence[Served]]  # what each pod answers for, by the pod's name


def as_served(seen: Seen) -> tuple[Adapter, ...]:
    """The adapters that pods answer for now. Raises PlanInvalid when pods disagree on one's path."""
    origins: dict[str, tuple[str, str]] = {}
    for pod, served in seen.items():
        for each in served:
            path, other = origins.setdefault(each.name, (each.path, pod)) if each.parent else (each.path, pod)
            if path != each.path:
                raise PlanInvalid(
                    f"Adapter {each.name} is loaded from {path} on pod {other} but from {each.path} on "
                    f"pod {pod}; list the adapters and their paths under workload.adapters."
                )
    return tuple(_taken_over(name, path, pod) for name, (path, pod) in sorted(origins.items()))


def _taken_over(name: str, path: str, pod: str) -> Adapter:
    try:
        return Adapter(name=name, path=path)
    except ValidationError as error:
        raise PlanInvalid(
            f"Adapter {name!r} of pod {pod} cannot be taken over from {path!r}; list the adapters and their "
            "paths under workload.adapters."
        ) from error


def nameable(seen: Seen, targets: Mapping[str, str]) -> dict[str, str]:
    """Every name that clients can be answered for today, and who says so.

    Those are what any pod answers for, and the `targets` of rewrites (name -> the object that has it): a pod
    that resolves adapters lazily lists one only after its first request.
    """
    by_pods = {each.name: f"pod {pod}" for pod, served in seen.items() for each in served}
    return dict(targets) | by_pods


def check_complete(names: Mapping[str, str], answered: Collection[str], pool: str) -> None:
    """Raises PlanInvalid, naming all of them, when `pool` would not answer for one of the `names`."""
    if lacking := [f"{name} ({who})" for name, who in sorted(names.items()) if name not in answered]:
        raise PlanInvalid(
            f"Clients can name {', '.join(lacking)} today, but {pool} would not answer for it. "
            "List adapters under workload.adapters; names of the model go into workload."
        )


def misfits(
    adapter: Adapter, config: Mapping[str, Any], lora: Lora, bases: Collection[str], max_rank: int
) -> Iterator[str]:
    """Why an adapter with this `adapter_config.json` (PEFT) does not fit: one sentence a reason."""
    rank, base = config.get("r"), _printable(config.get("base_model_name_or_path"))
    if type(rank) is not int or rank < 1:
        yield f"Adapter {adapter.name} has no rank in {adapter.config}."
    elif rank > max_rank:
        yield (
            f"Adapter {adapter.name} has rank {rank}, the servers take up to {max_rank}; "
            f"start them with --max-lora-rank={rank}."
        )
    if base not in bases:
        yield (
            f"Adapter {adapter.name} was trained for {base}, not for {', '.join(sorted(bases))}; "
            "if that is the same model, add it to `bases`."
        )
    if strange := sorted(_modules(config) - set(lora.target_modules)):
        yield (
            f"Adapter {adapter.name} changes the modules {', '.join(strange)}, which the servers do not "
            "support; if they do, add them to `target_modules`."
        )


def _modules(config: Mapping[str, Any]) -> set[str]:
    """The last parts of the modules' names; a pattern instead of a list cannot be judged from here."""
    modules = config.get("target_modules")
    listed: Iterable[Any] = modules if isinstance(modules, list) else ()
    return {str(_printable(module)).rpartition(".")[2] for module in listed}


def _printable(value: Any) -> str | None:
    """A word of a config, as a sentence may have it; None for anything else."""
    return value if isinstance(value, str) and value.isprintable() else None


def process_of(pod: K8sObject) -> str:
    """Tells the server processes of pods apart: one that was restarted has forgotten what it had loaded."""
    statuses = pod.get("status", {}).get("containerStatuses", ())
    restarts = sum(int(status.get("restartCount", 0)) for status in statuses)
    return f"{pod['metadata'].get('uid') or pod['metadata']['name']}/{restarts}"


def conflict(served: Iterable[Served], name: str, path: str) -> str | None:
    """Why an adapter at `path` cannot be loaded as `name` beside what a server has; None if it can."""
    taken = next((each for each in served if each.name == name), None)
    if taken is None or (taken.parent and taken.path == path):
        return None
    if taken.parent is None:
        return f"answers as {name} with its base model; give the new adapter a name of its own"
    return (
        f"has {name} loaded already, from {taken.path}, not from {path}; name it otherwise or unload it there"
    )
