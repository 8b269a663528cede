"""The environment of an Airflow beside the lab.

The pipeline reaches the lab only through two connections in it, as it would reach any cluster:
`kubernetes_default` (a kubeconfig) and `prometheus_default` (an address).
"""

import json
import os
import secrets
from pathlib import Path

from lab.host.state import CHECKOUT

USERS = {"admin": "admin", "viewer": "viewer"}


def connections(kubeconfig: Path, prometheus_url: str) -> dict[str, str]:
    """Environment variables with the two connections that the pipeline uses."""
    kubernetes = {"conn_type": "kubernetes", "extra": {"kube_config_path": str(kubeconfig)}}
    return {
        "AIRFLOW_CONN_KUBERNETES_DEFAULT": json.dumps(kubernetes),
        "AIRFLOW_CONN_PROMETHEUS_DEFAULT": json.dumps({"conn_type": "prometheus", "host": prometheus_url}),
    }


def settings(home: Path, port: int) -> dict[str, str]:
    """The environment of every component: ours where it matters, the caller's for the rest."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW_", "PYTHONDONTWRITE"))}
    configured = {
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": "6",
        "CORE__DAGS_FOLDER": str(CHECKOUT / "dags"),
        "CORE__PLUGINS_FOLDER": str(CHECKOUT / "plugins"),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__HOSTNAME_CALLABLE": "socket.gethostname",
        "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in USERS.items()),
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "API__BASE_URL": f"http://127.0.0.1:{port}",
        "API__SECRET_KEY": secrets.token_urlsafe(64),
        "API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
        "LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "SCHEDULER__MP_START_METHOD": "fork",
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    }
    return (
        inherited
        | {f"AIRFLOW__{name}": value for name, value in configured.items()}
        | {
            "AIRFLOW_HOME": str(home),
            "NO_PROXY": "localhost,127.0.0.0/8",
            "no_proxy": "localhost,127.0.0.0/8",
        }
    )
