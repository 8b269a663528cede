"""Registers the package with Airflow where it lies in the plugins folder.

An installed package registers itself, through its entry point. A second plugin of the same name would be an
import error to Airflow, and would make its task runner leave out every plugin that comes after it.
"""

from importlib.metadata import entry_points

if not entry_points(group="airflow.plugins", name="inference_rollouts"):
    from inference_rollouts.plugin import InferenceRolloutsPlugin  # noqa: F401
