"""The errors a person may meet: each says what happened, where the traffic is, and what to do.

RolloutError                a decision: trying again changes nothing
+-- PlanInvalid             plan or parameters contradict themselves
+-- RouteRefused            the live route cannot be moved safely by this plan
+-- ClusterRefused          the cluster lacks something, or its objects are not ours
|   +-- NotFound            an object, or its kind, is not there
|   +-- PatchRefused        what a guarded patch tested had changed
+-- RouteDrift              somebody else changed what this rollout moves
+-- ClaimLost               the object is claimed by another rollout, or by none
|   +-- ClaimUnreadable     somebody edited the claim, so that it says nothing
+-- RaiseRefused            the claim does not permit this raise, or this promotion
|   +-- Held                somebody holds the rollout, or all of them
+-- CommandRefused          what somebody commanded makes no sense as things stand
+-- HeldTooLong             it was paused for as long as a pause may last
+-- WindowClosed            the plan's windows do not allow it now
+-- NotReady                not ready before its deadline, or failed for good
|   +-- StockOut            the cloud has no such machines now
|   +-- QuotaExceeded       the project may not have so many
+-- WarmUpFailed            a pod of the canary answered wrongly, or never became steady
+-- ServerRefused           a model server did not do what it was asked
+-- PrometheusUnavailable   the metrics store did not answer
|   +-- PrometheusBusy      it cannot now, and may soon: worth trying again
+-- SourceRefused           a source of versions has none to show, or not to us
+-- RetirementRefused       what was to be taken away is in use, or not a rollout's
+-- DecisionRecordBroken    lines that are not a whole decision record
PassingError                an accident: worth trying again
+-- ClusterUnavailable      the API server did not answer, or did not do it now
|   +-- Forbidden           it does not allow it: now, or because a right is missing
+-- ServerUnavailable       a model server did not answer
+-- ReceiverUnavailable     a notification was not taken
+-- SourceUnavailable       a source of versions did not answer
+-- GkeBusy                 GKE's API cannot do it now
+-- StableUnavailable       going back would lose traffic now
"""

from __future__ import annotations


class RolloutError(Exception):
    """A rollout cannot go on. The message is one sentence a person can act on."""


class PlanInvalid(RolloutError):
    """The plan, or the parameters of this run, contradict themselves. Nothing was written."""


class RouteRefused(RolloutError):
    """The live route is not one that this plan can move safely. Nothing was written."""


class ClusterRefused(RolloutError):
    """The cluster lacks something the plan needs, or its objects are not ours to change."""


class NotFound(ClusterRefused):
    """The object, or its kind, is not on this cluster."""


class PatchRefused(ClusterRefused):
    """A guarded patch was refused: what it tested had changed, or the result would be invalid."""


class RouteDrift(RolloutError):
    """Somebody else changed what this rollout moves. It stops and never fights."""


class ClaimLost(RolloutError):
    """The object is claimed by another rollout, or by none: this run may not write to it."""


class ClaimUnreadable(ClaimLost):
    """The claim was edited and says nothing any more. The weights are left as they are."""


class RaiseRefused(RolloutError):
    """The claim does not permit this raise, or this promotion. The weights stay as they are."""


class Held(RaiseRefused):
    """Somebody holds the rollout, or all of them: nothing is raised or promoted until that ends."""


class CommandRefused(RolloutError):
    """What somebody commanded makes no sense as things stand. Nothing was changed."""


class HeldTooLong(RolloutError):
    """It was paused for as long as a pause may last, and nobody resumed it."""


class WindowClosed(RolloutError):
    """Windows and blackouts do not allow it now; from `opens` (Unix seconds) on they do, None: never."""

    def __init__(self, words: str, opens: float | None = None) -> None:
        super().__init__(words)
        self.opens = opens


class NotReady(RolloutError):
    """Something did not become ready before its deadline, or failed for good."""


class StockOut(NotReady):
    """The cloud has no such machines now. Other zones or machines, a reservation, or time may help."""


class QuotaExceeded(NotReady):
    """The project may not have so many machines. Only a raised quota helps."""


class WarmUpFailed(RolloutError):
    """A pod of the canary answered wrongly, or never became steady."""


class ServerRefused(RolloutError):
    """A model server did not do what it was asked; the message is its HTTP `status` and its text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


class PrometheusUnavailable(RolloutError):
    """Prometheus did not answer a query. Nothing is known; nothing is concluded."""


class PrometheusBusy(PrometheusUnavailable):
    """It cannot answer now, and may soon; `later`: the seconds after which it wants to be asked again, 0
    where it does not say."""

    def __init__(self, text: str, later: float = 0.0) -> None:
        super().__init__(text)
        self.later = later


class SourceRefused(RolloutError):
    """A source of versions has none to show, or shows them to others. Nothing was written."""


class RetirementRefused(RolloutError):
    """What was to be taken away is in use, or was not created by a rollout. It stays."""


class DecisionRecordBroken(RolloutError):
    """Lines that are not a whole decision record, or were changed; the message says where."""


class PassingError(Exception):
    """An accident, not a decision: what failed may work when it is tried again."""


class ClusterUnavailable(PassingError):
    """The API server did not do `method path`: no answer (`status` 0), none that can be read, or not now.

    `words` are the server's own, or what went wrong on the way. Whether a write took effect is unknown.
    `later`: the seconds after which it wants to be asked again; 0 where it does not say.
    """

    def __init__(self, method: str, path: str, status: int, words: str, later: float = 0.0) -> None:
        super().__init__(method, path, status, words, later)
        self.method, self.path, self.status, self.words = method, path, status, words
        self.later = later

    def __str__(self) -> str:
        request = f"{self.method} {self.path}"
        match self.status:
            case 0:
                return f"The cluster does not answer {request}: {self.words}"
            case 401 | 403:
                return f"The cluster does not allow {request}: {self.words} ({self.status})"
            case _:
                return f"The cluster cannot do {request} now: {self.words} ({self.status})"


class Forbidden(ClusterUnavailable):
    """The API server does not allow it: caches or a webhook are not ready, a policy denies it (403 or another
    status), or a right is missing."""


class ServerUnavailable(PassingError):
    """A model server did not answer, or there is no address to ask it at."""


class ReceiverUnavailable(PassingError):
    """Whoever was to be told of something did not take the message. It is sent again later."""


class SourceUnavailable(PassingError):
    """A source of versions did not answer, or cannot now."""


class GkeBusy(PassingError):
    """GKE's API cannot do it now: the cluster is busy with another operation, or there were too many."""


class StableUnavailable(PassingError):
    """Going back would lose traffic now; it is tried until it can be done."""
