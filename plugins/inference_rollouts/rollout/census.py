"""Who was in flight in a guardian's last round, and who has ended since, and how: for metrics."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.reporting.series import Closed, Reason, closed_by_claim
from inference_rollouts.core.routing.claim import Claim, Ending, read_ending


@dataclass(slots=True)
class Census:
    """Remembers the rollouts of the last round: one that is gone has ended. Earlier ends are not counted."""

    _known: dict[str, tuple[Claim, str]] = field(default_factory=dict)
    _reasons: dict[str, Reason] = field(default_factory=dict)

    def ended(self, token: str, *, alarm: bool) -> None:
        """A guardian ended this rollout: after an alarm, or because nobody drove it."""
        self._reasons[token] = Reason.ALARM if alarm else Reason.ABANDONED

    def take(
        self,
        in_flight: Mapping[str, tuple[Claim, str]],
        objects: Sequence[K8sObject],
        unknown: Collection[str] = (),
    ) -> tuple[Closed, ...]:
        """Those that have ended since the last round. `in_flight` now: claim and namespace, by token.

        Of what is `unknown` it will be told later how it ended, if it did.
        """
        in_flight = {token: known for token, known in self._known.items() if token in unknown} | {**in_flight}
        gone = {token: known for token, known in self._known.items() if token not in in_flight}
        self._known = dict(in_flight)
        closed = tuple(self._closed(claim, objects, namespace) for claim, namespace in gone.values())
        self._reasons = {token: reason for token, reason in self._reasons.items() if token in in_flight}
        return closed

    def _closed(self, claim: Claim, objects: Sequence[K8sObject], namespace: str) -> Closed:
        """Of several objects one that was promoted says so for all."""
        endings = [last for obj in objects if (last := read_ending(obj)) and last.token == claim.token]
        how = {last.ending for last in endings}
        ending = Ending.PROMOTED if Ending.PROMOTED in how else Ending.RESTORED if how else None
        at = max((last.at for last in endings), default=0.0)
        return closed_by_claim(claim, namespace, ending, at, self._reasons.get(claim.token, Reason.OTHER))
