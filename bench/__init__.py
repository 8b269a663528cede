"""Benchmarks: `judge`, our rule beside others on simulated rollouts; `reflex`, a bad canary in a lab;
`parsing`, many plans in Airflow; `conformance`, the lab's model server beside a real one.

Only tests import them.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "plugins"))
