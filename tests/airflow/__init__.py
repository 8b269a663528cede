"""The pipeline in Airflow, against a cluster and a Prometheus in memory."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
