"""What Airflow shows under Admin > Plugins, whose listener it calls, and whose pages it shows."""

from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from inference_rollouts import listener

VIEW = {
    "name": "Rollouts",
    "icon": "inference-rollouts/icon.svg",
    "icon_dark_mode": "inference-rollouts/icon-dark.svg",
}


class InferenceRolloutsPlugin(AirflowPlugin):
    """Found by its entry point where the package is installed, else by `inference_rollouts_plugin.py`.

    Addresses are relative, so that Airflow may be reached under any path.
    """

    name = "inference_rollouts"
    listeners: list[Any] = [listener]  # noqa: RUF012 - declared so by AirflowPlugin
    external_views: list[Any] = [  # noqa: RUF012
        {**VIEW, "href": "inference-rollouts/", "destination": "nav", "url_route": "rollouts"},
        {
            **VIEW,
            "name": "Rollout",
            "href": "inference-rollouts/#/rollouts/{DAG_ID}/{RUN_ID}",
            "destination": "dag_run",
            "url_route": "rollout",
        },
    ]

    @cached_property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]
        """Made where Airflow asks for it, which only its API server does: no task starts with it."""
        from inference_rollouts.console.app import PREFIX, create_app
        from inference_rollouts.console.source import RolloutSource
        from inference_rollouts.console.world import AirflowWorld

        app = create_app(RolloutSource(AirflowWorld()))
        return [{"app": app, "url_prefix": PREFIX, "name": "Rollouts"}]
