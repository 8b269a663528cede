"""Judges decision records again: `python -m inference_rollouts.replay FILE...` says whether they agree."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from inference_rollouts.core.errors import DecisionRecordBroken
from inference_rollouts.core.judging.decision_record import replay


def main(arguments: list[str] | None = None) -> int:
    """0 when every record gives its own verdicts again, 1 when one does not, 2 when one is not whole."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    worst = 0
    for path in parser.parse_args(arguments).files:
        lines = path.read_text().splitlines()
        try:
            same = replay(lines) == lines
        except DecisionRecordBroken as error:
            print(f"{path}: {error}", file=sys.stderr)
            worst = 2
            continue
        verdicts = [json.loads(line)["judgement"]["verdict"] for line in lines[1:]]
        said = "the same verdicts" if same else "OTHER VERDICTS than the record says"
        print(f"{path}: {said}: {', '.join(verdicts)}")
        worst = max(worst, int(not same))
    return worst


if __name__ == "__main__":
    sys.exit(main())
