"""What docs/operations.md says to do without Airflow puts a route back exactly as it was found."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from tests.support.claims import attached, shifted
from tests.support.json_patch import apply_patch
from tests.support.plans import ROOT
from tests.support.routes import ref, route, service


@pytest.mark.parametrize("filters", [None, [], [{"type": "RequestHeaderModifier"}]])
@pytest.mark.parametrize(("percent", "mirror"), [(0, 0), (0, 20), (50, 0)])
def test_the_script_of_the_docs_restores_below_a_rule_that_came_since(
    filters: Any, percent: Any, mirror: Any
) -> None:
    before = route([service("web")], [ref("llm-pool")], [ref("llm-pool", 3), ref("other")])
    for number, rule in enumerate(before["spec"]["rules"]):
        rule["matches"] = [{"path": {"type": "PathPrefix", "value": f"/{number}"}}]
    if filters is not None:
        before["spec"]["rules"][1]["filters"] = filters
    live = shifted(attached(before), percent, 1, mirror)
    above = {
        "matches": [{"path": {"type": "Exact", "value": "/x"}}],
        "backendRefs": [ref("llm-pool", 50), ref("new", 50)],
    }
    live["spec"]["rules"].insert(0, above)
    docs = (ROOT / "docs/operations.md").read_text()
    match = re.search(r"python3 -c '\n(.*?)' > restore.json", docs, re.DOTALL)
    assert match
    script = match[1]
    done = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(live), capture_output=True, text=True, check=True
    )
    after = apply_patch(live, json.loads(done.stdout))
    assert after["spec"]["rules"] == [above, *before["spec"]["rules"]]
    assert "annotations" not in after["metadata"]
