"""Benchmarks of the pipeline's core. Nothing imports them."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "plugins"))
