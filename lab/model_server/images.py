"""The catalogue of container images: what each does when it runs, from `lab/images.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar
from zlib import crc32

import yaml

from lab.model_server.faults import Faults
from lab.model_server.timing import Accelerator, Timing

CATALOGUE = Path(__file__).parents[1] / "images.yaml"
Entry = TypeVar("Entry")


class Kind(StrEnum):
    """What a container of an image is: a model server, an endpoint picker, or something that answers ok.

    A picker's container leaves the pod's ports to `lab.gateway.picker`.
    """

    VLLM = "vllm"
    PICKER = "picker"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Image:
    """How containers of an image behave; durations in seconds.

    `crash_after` ends the process with status 1 so long after its start. A server that is
    `never_ready` loads for ever. `served_name` is what the model calls itself whatever it is told.
    `chat_prefix` is what its chat template puts before the messages. `hidden_size` is the model's width:
    adapters for a model of another width do not fit. `teardown` is how long the engine of a server that was
    told to end needs once its last answer is out; None: it ends only when `--shutdown-timeout` is over.
    """

    kind: Kind = Kind.PLAIN
    version: str = "0"
    pull: float = 1.0
    load: float = 0.0
    crash_after: float | None = None
    never_ready: bool = False
    served_name: str | None = None
    max_model_len: int = 131072
    kv_cache_tokens: int = 400_000
    characters_per_token: float = 4.0
    chat_prefix: str = ""
    answer_tokens: float = 40.0
    hidden_size: int = 4096
    teardown: float | None = None
    timing: Timing = field(default_factory=Timing)
    faults: Faults = field(default_factory=Faults)

    @property
    def fingerprint(self) -> str:
        """What answers call the server's configuration."""
        return f"vllm-{self.version}-{crc32(self.version.encode()):08x}"


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter's folder: its rank, the base model it was trained for, and what may not fit.

    `modules` are those it changes; `hidden_size` is that of its base; without `weights` there is only its
    configuration.
    """

    rank: int
    base: str
    modules: tuple[str, ...] = ("q_proj", "v_proj")
    hidden_size: int = 4096
    dora: bool = False
    weights: bool = True
    faults: Faults = field(default_factory=Faults)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Images and adapters by pattern; the first pattern that matches wins. Accelerators by name."""

    images: Mapping[str, Image]
    adapters: Mapping[str, Adapter]
    accelerators: Mapping[str, Accelerator] = field(default_factory=dict)

    def image(self, name: str) -> Image | None:
        """The image of that name, or None: it cannot be pulled. A digest after the tag is not looked at."""
        return _first(self.images, name.partition("@")[0])

    def accelerator(self, name: str) -> Accelerator:
        """The accelerator of that name; one that is not known is like nvidia-h100-80gb."""
        return self.accelerators.get(name, Accelerator())

    def adapter(self, path: str) -> Adapter | None:
        """The adapter at that path, or None: there is none."""
        return _first(self.adapters, path)


def load_catalogue(path: Path = CATALOGUE) -> Catalogue:
    """Read the catalogue; ValueError names the entry that makes no sense."""
    document = yaml.safe_load(path.read_text())
    return Catalogue(
        {name: _built(name, Image, entry) for name, entry in document["images"].items()},
        {name: _built(name, Adapter, entry) for name, entry in (document.get("adapters") or {}).items()},
        {
            name: _built(name, Accelerator, each)
            for name, each in (document.get("accelerators") or {}).items()
        },
    )


def _first(entries: Mapping[str, Entry], name: str) -> Entry | None:
    return next((entry for pattern, entry in entries.items() if fnmatchcase(name, pattern)), None)


def _built(name: str, kind: type[Any], entry: Mapping[str, Any] | None) -> Any:
    values = dict(entry or {})
    unknown = values.keys() - {item.name for item in fields(kind)}
    if unknown:
        raise ValueError(f"{name}: unknown field {', '.join(sorted(unknown))}")
    try:
        if "kind" in values:
            values["kind"] = Kind(values["kind"])
        if "timing" in values:
            values["timing"] = Timing(**values["timing"])
        if "modules" in values:
            values["modules"] = tuple(values["modules"])
        if "faults" in values:
            values["faults"] = Faults().changed(values["faults"])
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from error
