"""Tests of the pure core; nothing here needs Airflow or a cluster."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
