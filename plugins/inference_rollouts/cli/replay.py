"""Judges decision records again and says whether they agree."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from inference_rollouts.core.errors import DecisionRecordBroken
from inference_rollouts.core.judging.decision_record import canonical, refusing, replay


def add_parser(commands: Any) -> None:
    """Add `replay FILE...` to the commands, as `ArgumentParser.add_subparsers` gives them."""
    parser = commands.add_parser("replay", help="judge decision records again", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a decision record")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 when every record gives its own verdicts again, 1 when one does not, 2 when one is not whole."""
    return max(_replay(path) for path in arguments.files)


def lines_of(path: Path) -> list[str]:
    """Those of a record: some signs that end a line elsewhere may stand in a JSON text.

    Raises OSError or UnicodeDecodeError.
    """
    with path.open(encoding="utf-8") as file:
        return [line.rstrip("\n") for line in file]


def _replay(path: Path) -> int:
    try:
        lines = lines_of(path)
        with refusing():
            same = replay(lines) == [canonical(json.loads(line)) for line in lines]
    except (DecisionRecordBroken, UnicodeDecodeError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{path}: {error.strerror}", file=sys.stderr)
        return 2
    verdicts = [json.loads(line)["judgement"]["verdict"] for line in lines[1:]]
    agreement = "the same verdicts" if same else "OTHER VERDICTS than the record says"
    print(f"{path}: {agreement}: {', '.join(verdicts)}")
    return int(not same)
