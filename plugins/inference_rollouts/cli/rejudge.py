"""What another policy would have made of past rollouts: their decision records are judged again by it.

RECORDS are folders, one a rollout, with a record `step_1.jsonl`, ... of each step, as rollouts store them;
folders of such folders are searched. The policy is a plan file, or a file with what stands below `analysis`
in one.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from inference_rollouts.cli.replay import lines_of
from inference_rollouts.clients.include import why_unread
from inference_rollouts.clients.safe_yaml import safe_load
from inference_rollouts.core.durations import format_duration
from inference_rollouts.core.errors import DecisionRecordBroken, PlanInvalid
from inference_rollouts.core.judging.decision_record import read
from inference_rollouts.core.judging.judge import Policy, Verdict
from inference_rollouts.core.judging.rejudge import Outcome, recorded, rejudged, summary
from inference_rollouts.core.values import mistakes

RECORD = re.compile(r"step_(\d+)\.jsonl")
WORDS = {
    Verdict.ADVANCE: "promoted",
    Verdict.INCONCLUSIVE: "undecided at the end",
    Verdict.NO_DATA: "without data at the end",
    Verdict.ASK: "a person asked",
    Verdict.ROLLBACK: "rolled back",
}


def add_parser(commands: Any) -> None:
    """Add `rejudge RECORDS... --policy FILE` to the commands, as `ArgumentParser.add_subparsers` gives
    them."""
    parser = commands.add_parser("rejudge", help="judge past rollouts by another policy", description=__doc__)
    parser.add_argument(
        "records", nargs="+", type=Path, metavar="RECORDS", help="a folder of decision records"
    )
    parser.add_argument(
        "--policy", required=True, type=Path, metavar="FILE", help="a plan, or its `analysis`"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 when all rollouts could be judged again, 2 when one could not. Raises PlanInvalid for the policy."""
    policy, pairs, broken = _policy(arguments.policy), [], False
    folders = [folder for given in arguments.records for folder in _folders(given)]
    for folder in folders:
        try:
            records = [read(lines_of(path)) for path in _records(folder)]
            pair = recorded(records), rejudged(records, policy)
        except (DecisionRecordBroken, UnicodeDecodeError, OSError) as error:
            why = str(error) if isinstance(error, DecisionRecordBroken) else why_unread(error)
            print(f"{folder}: {why}", file=sys.stderr)
            broken = True
            continue
        pairs.append(pair)
        print(f"{folder}: {_words(pair[1])} instead of {_words(pair[0])}: {pair[1].reason}")
    if not folders:
        print("There are no records step_1.jsonl, ... in these folders.", file=sys.stderr)
    if pairs:
        print(summary(pairs))
    return 2 if broken or not folders else 0


def _policy(path: Path) -> Policy:
    try:
        value = safe_load(path.read_text(encoding="utf-8"))
    except Exception as error:
        raise PlanInvalid(f"{path}: the policy cannot be read: {why_unread(error)}.") from error
    value = {} if value is None else value
    if not isinstance(value, dict):
        raise PlanInvalid(f"{path}: the policy is invalid: it is no mapping of fields.")
    try:
        return Policy.model_validate(value.get("analysis", {} if "steps" in value else value))
    except ValidationError as error:
        raise PlanInvalid(f"{path}: the policy is invalid: {mistakes(error)}.") from error


def _folders(given: Path) -> Iterator[Path]:
    """The rollouts at or below a folder, in the order of their names."""
    paths = [given, *sorted(path for path in given.rglob("*") if path.is_dir())]
    return (path for path in paths if path.is_dir() and _records(path))


def _records(folder: Path) -> Sequence[Path]:
    """Its records, step by step."""
    found = [(int(match[1]), path) for path in folder.iterdir() if (match := RECORD.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def _words(outcome: Outcome) -> str:
    passed = outcome.open and outcome.verdict is Verdict.ADVANCE
    what = f"past step {outcome.step} of {outcome.steps} at the end" if passed else WORDS[outcome.verdict]
    return f"{what} after {format_duration(outcome.seconds)}"
