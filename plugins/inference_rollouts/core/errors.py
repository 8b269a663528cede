"""The errors a person may meet: each says what happened, where the traffic is, and what to do."""

from __future__ import annotations


class RolloutError(Exception):
    """A rollout cannot go on. The message is one sentence a person can act on."""


class PlanInvalid(RolloutError):
    """The plan, or the parameters of this run, contradict themselves. Nothing was written."""


class RouteRefused(RolloutError):
    """The live route is not one that this plan can move safely. Nothing was written."""


class ClusterRefused(RolloutError):
    """The cluster lacks something the plan needs, or its objects are not ours to change."""


class RouteDrift(RolloutError):
    """Somebody else changed what this rollout moves. It stops and never fights."""


class HoldLost(RolloutError):
    """The route is held by another rollout, or by none: this run may not write to it."""


class NotReady(RolloutError):
    """Something did not become ready before its deadline, or failed for good."""


class StockOut(NotReady):
    """The cloud has no such machines now. Other zones or machines, a reservation, or time may help."""


class QuotaExceeded(NotReady):
    """The project may not have so many machines. Only a raised quota helps."""


class RetirementRefused(RolloutError):
    """What was to be taken away is in use, or was not created by a rollout. It stays."""


class WarmUpFailed(RolloutError):
    """A pod of the canary answered wrongly, or never became steady."""
