"""One Airflow DAG: the morning report of all plans; paused until somebody wants it."""

import os

from inference_rollouts.digest_dag import DEFAULT, build_digest_dag

dag = build_digest_dag(os.environ.get("INFERENCE_ROLLOUTS_DIGEST", DEFAULT))
