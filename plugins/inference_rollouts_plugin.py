"""Registers the rollout package with Airflow: its version shows under Admin > Plugins."""

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from inference_rollouts import listener


class InferenceRolloutsPlugin(AirflowPlugin):
    """The operators, sensors and triggers are importable because plugins/ is on sys.path."""

    name = "inference_rollouts"
    listeners: list[Any] = [listener]  # noqa: RUF012 - declared so by AirflowPlugin
