"""Where a plan finds the versions that it rolls out, and which of them it may."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from inference_rollouts.core.durations import Seconds
from inference_rollouts.core.values import Model, Name, Text
from inference_rollouts.core.versions.version import NAME

REPOSITORY = r"^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$"


class _Source(Model):
    model_config = ConfigDict(serialize_by_alias=True)


class Parameter(_Source):
    """A person, or whoever starts the run, says it with the parameter `version`."""

    from_: Literal["parameter"] = Field(alias="from")
    """Where versions come from: the run's parameter."""


class File(_Source):
    """A JSON file: `{"versions": [{"name": "v1.2.0", "digest": "sha256:...", "since": 1796000000}]}`."""

    from_: Literal["file"] = Field(alias="from")
    """Where versions come from: a file."""
    url: Text
    """Any URL of Airflow's object storage. The newest version is that with the highest `since`."""


class Event(_Source):
    """Events of an Airflow asset with `name` and `digest` in their `extra`; they also start the run."""

    from_: Literal["event"] = Field(alias="from")
    """Where versions come from: an asset's events."""
    asset: Text
    """The asset's name. The newest version is that of the newest event."""


class Registry(_Source):
    """The tags of a repository in an OCI registry."""

    from_: Literal["registry"] = Field(alias="from")
    """Where versions come from: a registry, by its connection `connections.registry`."""
    repository: Annotated[str, Field(max_length=255, pattern=REPOSITORY)]
    """The repository's name in the registry, such as `shop/llm-server`."""
    tag: Annotated[str, Field(pattern=rf"^{NAME}$")] | None = None
    """A tag that moves, such as `stable`: each digest that it gets is a version. Default: none; versions are
    the tags that are semantic versions."""
    prereleases: bool = False
    """Whether versions such as `v1.2.0-rc.1` count. Default: no, as releases follow them."""


Source = Annotated[Parameter | File | Event | Registry, Field(discriminator="from_")]


class Versions(Model):
    """A run takes the newest version of `source` that may be rolled out, as it is when the run begins.

    One that was rolled back is passed over until a person allows it (`inference-rollouts versions`).
    """

    source: Source
    """Where versions come from."""
    min_age: Seconds = 0.0
    """How old a version must be. Default: 0; a person who names one has waited."""
    after: Name | None = None
    """The plan that must have promoted a version before this one takes it. Default: none."""
