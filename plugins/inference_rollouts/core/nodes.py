"""Where a canary runs: the provisioners that a plan may choose."""

from __future__ import annotations

from typing import Literal

from .fields import Model


class ExistingNodes(Model):
    """Waits for Ready nodes with free accelerators."""

    provisioner: Literal["existing"] = "existing"
    selector: dict[str, str]


Nodes = ExistingNodes
