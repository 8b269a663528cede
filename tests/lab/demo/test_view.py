"""What the demo shows: pure text from pure snapshots."""

import io
import re
from collections import Counter
from dataclasses import replace

import pytest

from lab.demo.observe import progress
from lab.demo.screen import ESCAPES, Screen, fitted
from lab.demo.snapshot import Arm, Clients, Snapshot, Task, asked_shares, backends, describe
from lab.demo.view import ENDINGS, PREPARATION, STEP_TASKS, Style, block, line

PLAIN = Style(colours=False)
UP = re.compile(r"\x1b\[\d*[AJ]")
STEPS = [f"step_{n}.{name}" for n in (1, 2, 3) for name in STEP_TASKS]
ARMS = (
    Arm("llm-pool", 0.5, 0.491, 28.4, 0.0, 0.21, 3, 3),
    Arm("llm-pool-version-2", 0.5, 0.509, 29.6, 0.04, 0.19, 3, 2),
)


def run_at(task_id: str, state: str = "running") -> tuple[Task, ...]:
    """The tasks of a run that has come to `task_id`."""
    names = [*PREPARATION, *STEPS, *ENDINGS]
    here = names.index(task_id)
    before = [Task(name, "success", 1.0) for name in names[:here]]
    return (*before, Task(task_id, state, 100.0), *(Task(name, "") for name in names[here + 1 :]))


def snapshot(task_id: str = "step_2.judge", state: str = "deferred") -> Snapshot:
    return Snapshot(
        62.4, run_at(task_id, state), ARMS, Clients(Counter(ok=5012, http_500=3)), verdict="inconclusive: why"
    )


def test_the_block_shows_every_figure() -> None:
    text = "\n".join(block(snapshot(), [10, 50, 100], PLAIN))
    for figure in (
        "1:02",
        "50 %",
        "49.1 %",
        "28.4",
        "4.0 %",
        "190 ms",
        "2/3",
        "inconclusive: why",
        "5,015",
        "3 http_500",
    ):
        assert figure in text


def test_the_chain_marks_what_is_done_at_work_and_to_come() -> None:
    text = "\n".join(block(snapshot(), [10, 50, 100], PLAIN))
    assert "✓ warm_up" in text
    assert "✓ 10 %" in text
    assert "● 50 % judge" in text
    assert "○ 100 %" in text
    assert "○ rollback" in text


def test_a_failed_judge_marks_its_step() -> None:
    text = "\n".join(block(snapshot("step_2.judge", "failed"), [10, 50, 100], PLAIN))
    assert "✗ 50 %" in text


def test_the_step_that_raised_the_alarm_is_marked() -> None:
    ended = {task.task_id: task for task in run_at("step_2.ask", "success")}
    ended["step_2.judge"] = Task("step_2.judge", "failed", 90.0)
    ended["rollback"] = Task("rollback", "running", 100.0)
    rolling_back = replace(snapshot(), tasks=tuple(ended.values()))
    text = "\n".join(block(rolling_back, [10, 50, 100], PLAIN))
    assert "✓ 10 %" in text
    assert "✗ 50 %" in text
    assert "○ 100 %" in text


def test_a_rollback_that_had_nothing_to_do_marks_no_step() -> None:
    tasks = run_at("report")
    skipped = tuple(Task("rollback", "skipped", 1.0) if t.task_id == "rollback" else t for t in tasks)
    assert "✗" not in "\n".join(block(replace(snapshot(), tasks=skipped), [10, 50, 100], PLAIN))


def test_a_long_verdict_keeps_the_blocks_height() -> None:
    long = replace(snapshot(), verdict="too slow " * 60)
    assert len(block(long, [10, 50, 100], PLAIN)) == len(block(snapshot(), [10, 50, 100], PLAIN))


def test_nothing_known_yet_is_shown_as_such() -> None:
    empty = Snapshot(0.0, (), (Arm("a"), Arm("b")), Clients())
    assert "none yet" in "\n".join(block(empty, [100], PLAIN))
    assert "asked -/-" in line(empty)


def test_a_plain_line_holds_the_same_figures() -> None:
    text = line(snapshot())
    for figure in ("1:02", "step_2.judge", "50 %/50 %", "49 %/51 %", "28.4/29.6", "0.0 %/4.0 %"):
        assert figure in text
    assert "\n" not in text


def test_styles_add_only_escapes() -> None:
    styled = block(snapshot(), [10, 50, 100], Style(colours=True))
    assert [ESCAPES.sub("", row) for row in styled] == block(snapshot(), [10, 50, 100], PLAIN)


def test_a_line_is_cut_by_what_is_visible() -> None:
    assert fitted("\x1b[31mabcdef\x1b[0mgh", 4) == "\x1b[31mabcd\x1b[0m"
    assert fitted("\x1b[31mabc\x1b[0m", 3) == "\x1b[31mabc\x1b[0m"


def test_the_live_block_replaces_itself_and_lines_stay_above() -> None:
    out = io.StringIO()
    screen = Screen(out, live=True, colours=False)
    screen.paint(["one", "two"])
    screen.say("stays")
    screen.paint(["three"])
    assert shown(out.getvalue()) == ["stays", "three"]


def test_a_kept_block_stays() -> None:
    out = io.StringIO()
    screen = Screen(out, live=True, colours=False)
    screen.paint(["one"])
    screen.keep()
    screen.paint(["two"])
    assert shown(out.getvalue()) == ["one", "two"]


def test_a_pipe_gets_lines_and_no_escapes() -> None:
    out = io.StringIO()
    screen = Screen(out, live=False, colours=False)
    screen.paint(["block"])
    screen.say("line")
    assert out.getvalue() == "line\n"


def shown(output: str) -> list[str]:
    """What a terminal shows after this output (newlines, cursor up, erase below)."""
    rows: list[str] = [""]
    position = 0
    while position < len(output):
        if escape := ESCAPES.match(output, position) or UP.match(output, position):
            if escape.group().endswith("A"):
                del rows[len(rows) - 1 - int(escape.group()[2:-1]) :]
                rows.append("")
            position = escape.end()
        elif output[position] == "\n":
            rows.append("")
            position += 1
        else:
            rows[-1] += "" if output[position] == "\r" else output[position]
            position += 1
    return rows[:-1]


@pytest.mark.parametrize(
    ("task_id", "expected"),
    [("step_1.judge", 0.75), ("deploy_pool", 2 / 3), ("preflight", None), ("step_1.shift", None)],
)
def test_progress_of_long_tasks(task_id: str, expected: float | None) -> None:
    done, _ = progress(snapshot(task_id, "running"), bake=8.0, now=106.0)
    assert done == expected


def test_no_task_no_progress() -> None:
    assert progress(replace(snapshot(), tasks=()), 8.0, 0.0) == (None, "")


def test_a_missing_weight_is_one() -> None:
    assert asked_shares([{"name": "a"}, {"name": "b", "weight": 3}]) == {"a": 0.25, "b": 0.75}
    assert asked_shares([{"name": "a", "weight": 0}]) == {"a": 0.0}


def test_the_rule_with_the_pool_is_found() -> None:
    route = {"spec": {"rules": [{"backendRefs": [{"name": "x"}]}, {"backendRefs": [{"name": "y"}]}]}}
    assert backends(route, "y") == [{"name": "y"}]
    assert backends(route, "unknown") == [{"name": "x"}]


def test_a_rewrite_s_targets_are_shown_like_backends() -> None:
    targets = [{"modelRewrite": "v1", "weight": 80}, {"modelRewrite": "v2", "weight": 20}]
    refs = backends({"spec": {"rules": [{"targets": [{"modelRewrite": "x"}]}, {"targets": targets}]}}, "v2")
    assert asked_shares(refs) == {"v1": 0.8, "v2": 0.2}
    assert describe(refs) == "v1 80, v2 20"


def test_clients_since() -> None:
    earlier, now = Clients(Counter(ok=10, timeout=1)), Clients(Counter(ok=15, timeout=1, http_500=2))
    assert now.since(earlier) == Clients(Counter(ok=5, http_500=2))
    assert now.since(earlier).failures == {"http_500": 2}
