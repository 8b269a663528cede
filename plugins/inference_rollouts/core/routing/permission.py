"""May this be done to an object, by its claim alone?"""

from __future__ import annotations

from inference_rollouts.core.errors import ClaimLost, Held, RaiseRefused
from inference_rollouts.core.objects.k8s import K8sObject, title_of
from inference_rollouts.core.routing.claim import Claim, Permission, Phase
from inference_rollouts.core.routing.switch import Switch


def permission_of(claim: Claim, now: float) -> Permission:
    """The permission for the raise that follows what the claim says now."""
    return Permission(step=claim.step, percent=claim.percent, since=claim.since, at=now)


def permits(claim: Claim) -> bool:
    """Whether a verdict on exactly what the claim says now allows the next raise."""
    verdict = claim.verdict
    return verdict is not None and (verdict.step, verdict.percent, verdict.since) == (
        claim.step,
        claim.percent,
        claim.since,
    )


def require_progressing(obj: K8sObject, claim: Claim) -> None:
    """Raises ClaimLost when the rollout is on its way back."""
    if claim.phase is Phase.RETURNING:
        raise ClaimLost(
            f"{title_of(obj)} is on its way back to {claim.stable} (epoch {claim.epoch}): nothing is raised "
            "any more. Let the rollback end, then start a new run."
        )


def require_free(obj: K8sObject, claim: Claim, switch: Switch | None, now: float) -> None:
    """The same; raises Held while somebody has paused the rollout, or stopped all at `now`."""
    require_progressing(obj, claim)
    keeps = f"{claim.canary} keeps {claim.percent} % of the traffic of {title_of(obj)}"
    if claim.phase is Phase.PAUSED:
        by = f" by {claim.command}" if claim.command else ""
        raise Held(f"Paused{by}. {keeps} until the rollout is resumed.")
    if switch and switch.is_on(now):
        raise Held(f"{switch}. {keeps} until then.")


def require_raise(obj: K8sObject, claim: Claim, step: int, switch: Switch | None, now: float) -> None:
    """Raises RaiseRefused unless the step before `step` passed, on this claim and since its own shift.

    Raises Held as `require_free` does.
    """
    require_free(obj, claim, switch, now)
    if claim.step != step - 1 or not permits(claim):
        before = f"step {step - 1}" if step > 1 else "the warm-up"
        raise RaiseRefused(
            f"{title_of(obj)} does not say that {before} passed: {claim.canary} keeps {claim.percent} % "
            f"(step {claim.step}) and is not raised to step {step}."
        )


def require_promotion(obj: K8sObject, claim: Claim, steps: int, switch: Switch | None, now: float) -> None:
    """Raises RaiseRefused unless the last of all `steps` passed with 100 % on the canary; Held as above."""
    require_free(obj, claim, switch, now)
    last = max(steps, claim.steps)
    if claim.percent != 100:
        raise RaiseRefused(
            f"{claim.canary} has {claim.percent} % of the traffic of {title_of(obj)}, not 100 %: "
            "it is not promoted."
        )
    if claim.step < last or not permits(claim):
        raise RaiseRefused(
            f"{title_of(obj)} does not say that step {last} passed, the last one: not promoted. "
            f"{claim.canary} has 100 % of its traffic until the rollback ends."
        )
