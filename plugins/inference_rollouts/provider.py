"""What the installed package adds to Airflow: two types of connections, with their forms.

Airflow asks for this in every process and imports the hook only where somebody uses it, so nothing is
imported here. It asks installed packages only: from a plugins folder there are no such types to choose.
"""

from __future__ import annotations

from typing import Any


def provider_info() -> dict[str, Any]:
    """As Airflow's schema `provider_info` has it."""
    return {
        "package-name": "inference-rollouts",
        "name": "Inference rollouts",
        "description": "Progressive rollouts of LLM inference pools.",
        "connection-types": [
            {
                "connection-type": "prometheus",
                "hook-name": "Prometheus",
                "hook-class-name": "inference_rollouts.hooks.prometheus.PrometheusHook",
                "ui-field-behaviour": {
                    "hidden-fields": ["login", "extra"],
                    "relabeling": {"schema": "Scheme", "password": "Bearer token"},
                    "placeholders": {"schema": "http", "host": "prometheus.monitoring", "port": "9090"},
                },
                "conn-fields": {
                    "path": {
                        "label": "Path",
                        "description": "What comes before /api/v1, if anything, as "
                        "/v1/projects/PROJECT/location/global/prometheus does at Google.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "workload_identity": {
                        "label": "Workload identity",
                        "description": "Without a bearer token: ask with those of the identity that Airflow "
                        "runs as, which Google Managed Prometheus takes.",
                        "schema": {"type": ["boolean", "null"]},
                    },
                },
            },
            {
                "connection-type": "cloudevents",
                "hook-name": "CloudEvents",
                "hook-class-name": "inference_rollouts.hooks.cloudevents.CloudEventsHook",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "port"],
                    "relabeling": {"host": "Address", "password": "Password, or bearer token"},
                    "placeholders": {"host": "https://example.com/hooks/rollouts"},
                },
            },
        ],
    }
