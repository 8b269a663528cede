"""What Airflow shows under Admin > Plugins, and whose listener it calls."""

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from inference_rollouts import listener


class InferenceRolloutsPlugin(AirflowPlugin):
    """Found by its entry point where the package is installed, else by `inference_rollouts_plugin.py`."""

    name = "inference_rollouts"
    listeners: list[Any] = [listener]  # noqa: RUF012 - declared so by AirflowPlugin
