"""Prometheus' configuration and command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from lab.monitoring.targets import JOBS

INTERVAL = "1s"
RETENTION = "6h"


def targets_folder(state: Path) -> Path:
    """Where Prometheus finds the pods: a file for each job."""
    return state / "prometheus" / "targets"


def write_config(state: Path, envoy_admin: str) -> Path:
    """Write STATE/prometheus/prometheus.yml and empty target lists; `envoy_admin` is a URL."""
    targets = targets_folder(state)
    targets.mkdir(parents=True, exist_ok=True)
    for job in JOBS:
        if not (targets / f"{job}.json").exists():
            write_targets(state, job, [])
    path = state / "prometheus" / "prometheus.yml"
    path.write_text(yaml.safe_dump(_config(targets, envoy_admin), sort_keys=False))
    return path


def write_targets(state: Path, job: str, groups: Sequence[dict[str, Any]]) -> None:
    """Replace the pods that Prometheus scrapes for a job; it takes them in within 6 seconds."""
    path = targets_folder(state) / f"{job}.json"
    temporary = path.with_name("." + path.name)
    temporary.write_text(json.dumps(groups, indent=2) + "\n")
    temporary.replace(path)


def prometheus_argv(binary: Path, state: Path, port: int) -> list[str]:
    """The command that serves on 127.0.0.1:`port` with its data in STATE/prometheus/data."""
    home = state / "prometheus"
    return [
        str(binary),
        f"--config.file={home / 'prometheus.yml'}",
        f"--storage.tsdb.path={home / 'data'}",
        f"--storage.tsdb.retention.time={RETENTION}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--scrape.discovery-reload-interval=1s",
        "--log.level=warn",
    ]


def _config(targets: Path, envoy_admin: str) -> dict[str, Any]:
    return {
        "global": {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL},
        "scrape_configs": [
            *(
                {
                    "job_name": job,
                    "file_sd_configs": [
                        {"files": [str(targets.resolve() / f"{job}.json")], "refresh_interval": "5s"}
                    ],
                }
                for job in JOBS
            ),
            {
                "job_name": "envoy",
                "metrics_path": "/stats/prometheus",
                "params": {"usedonly": [""]},
                "static_configs": [{"targets": [urlsplit(envoy_admin).netloc]}],
            },
        ],
    }
