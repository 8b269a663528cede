"""Registers the rollout package with Airflow: its version shows under Admin > Plugins."""

from airflow.plugins_manager import AirflowPlugin


class InferenceRolloutsPlugin(AirflowPlugin):
    """The operators, sensors and triggers are importable because plugins/ is on sys.path."""

    name = "inference_rollouts"
