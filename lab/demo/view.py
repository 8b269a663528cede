"""A snapshot as text: a block of lines that is painted over and over, or one plain line."""

import textwrap
from dataclasses import dataclass

from lab.demo.snapshot import Arm, Snapshot, Task

BAR = 30
PREPARATION = ("preflight", "provision_nodes", "deploy_pool", "load_adapter", "warm_up")
STEP_TASKS = ("shift", "judge", "ask")
ENDINGS = ("promote", "rollback", "report")
MARKS = {
    "success": ("green", "✓"),
    "failed": ("red", "✗"),
    "upstream_failed": ("red", "✗"),
    "skipped": ("dim", "·"),
    "": ("dim", "○"),
}
CODES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "blue": 34, "cyan": 36}


@dataclass(frozen=True, slots=True)
class Style:
    """Colours where they are wanted, plain text where not."""

    colours: bool

    def __call__(self, style: str, text: str) -> str:
        return f"\x1b[{CODES[style]}m{text}\x1b[0m" if self.colours and text else text


def block(snapshot: Snapshot, weights: list[int], style: Style) -> list[str]:
    """The live view of one rollout, at most 100 columns wide."""
    clients = snapshot.clients
    failed = ", ".join(f"{n} {cause}" for cause, n in clients.failures.items())
    return [
        "",
        *_chain(snapshot.tasks, weights, style),
        "",
        style(
            "dim",
            f"  {'':22}{'asked':>7}{'observed':>10}{'req/s':>8}{'errors':>9}{'TTFT p95':>10}{'pods':>8}",
        ),
        *(_arm(arm, style) for arm in snapshot.arms),
        "",
        _now(snapshot, style),
        *_verdict(snapshot.verdict or "none yet"),
        f"  {'watched by':10} {snapshot.watcher or 'nobody: no weight has moved, or all is over'}",
        f"  {'clients':10}{clients.ended:,} answered, "
        + (style("yellow", f"failed: {failed}") if failed else style("green", "none failed")),
    ]


def line(snapshot: Snapshot) -> str:
    """One line for a log: where it is and both arms side by side."""
    task = snapshot.current
    columns = [
        clock(snapshot.elapsed),
        f"{task.task_id if task else '-':16}",
        "asked " + "/".join(share(arm.asked) for arm in snapshot.arms),
        "observed " + "/".join(share(arm.observed) for arm in snapshot.arms),
        "req/s " + "/".join(number(arm.rate) for arm in snapshot.arms),
        "errors " + "/".join(share(arm.errors, 1) for arm in snapshot.arms),
        "TTFT p95 " + "/".join(milliseconds(arm.ttft_p95) for arm in snapshot.arms),
    ]
    return "  ".join(columns)


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def share(value: float | None, digits: int = 0) -> str:
    """A share as a percentage."""
    return "-" if value is None else f"{100 * value:.{digits}f} %"


def number(value: float | None) -> str:
    """A rate with one digit."""
    return "-" if value is None else f"{value:.1f}"


def milliseconds(value: float | None) -> str:
    """A duration in milliseconds."""
    return "-" if value is None else f"{1000 * value:.0f} ms"


def progress_bar(done: float, style: Style) -> str:
    """A bar that is `done` (0..1) full."""
    full = round(min(max(done, 0.0), 1.0) * BAR)
    return style("cyan", "━" * full) + style("dim", "─" * (BAR - full))


def _chain(tasks: tuple[Task, ...], weights: list[int], style: Style) -> list[str]:
    """The pipeline in two lines, preparation and steps; a step shows its weight and the task it is at."""
    states = {task.task_id: task for task in tasks}
    steps = []
    for count, weight in enumerate(weights, start=1):
        group = [states[name] for part in STEP_TASKS if (name := f"step_{count}.{part}") in states]
        if group:
            steps.append(_mark(_foremost(group), f"{weight} %", style))
    before = [_mark(states[name], name, style) for name in PREPARATION if name in states]
    steps += [_mark(states[name], name, style) for name in ENDINGS if name in states]
    return ["  " + "  ".join(before), "  " + "  ".join(steps)]


def _foremost(tasks: list[Task]) -> Task:
    """The task that tells how a step stands: a failed one, else the one at work, else the last."""
    for state in ("failed", "upstream_failed"):
        if stopped := [task for task in tasks if task.state == state]:
            return stopped[0]
    return next((task for task in tasks if task.state not in ("success", "skipped")), tasks[-1])


def _mark(task: Task, name: str, style: Style) -> str:
    if task.is_active:
        suffix = f" {task.task_id.split('.')[1]}" if "." in task.task_id else ""
        return style("bold", f"● {name}{suffix}")
    colour, mark = MARKS.get(task.state, MARKS[""])
    return style(colour, f"{mark} {name}")


def _arm(arm: Arm, style: Style) -> str:
    errors = f"{share(arm.errors, 1):>9}"
    return (
        f"  {arm.pool:22}{share(arm.asked):>7}{share(arm.observed, 1):>10}{number(arm.rate):>8}"
        f"{style('red', errors) if arm.errors else errors}{milliseconds(arm.ttft_p95):>10}"
        f"{f'{arm.pods_ready}/{arm.pods}':>8}"
    )


def _verdict(text: str) -> list[str]:
    """Always two lines, so that the block keeps its height."""
    lines = textwrap.wrap(text, 84, max_lines=2, placeholder=" ...")
    return [f"  {'verdict':10}{lines[0]}", f"  {'':10}{lines[1] if len(lines) > 1 else ''}"]


def _now(snapshot: Snapshot, style: Style) -> str:
    task = snapshot.current
    text = f"  {clock(snapshot.elapsed):10}{task.task_id if task else 'between tasks':17}"
    if snapshot.progress is not None:
        text += f" {progress_bar(snapshot.progress, style)} {snapshot.progress_text}"
    return text
