"""`python -m inference_rollouts` is `inference-rollouts`."""

import sys

from inference_rollouts.cli import main

sys.exit(main())
