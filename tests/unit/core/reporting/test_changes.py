"""Objects are compared field by field, without what servers say of them."""

from __future__ import annotations

import copy
from typing import Any

from inference_rollouts.core.reporting.changes import changes

OBJ: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "new", "labels": {"a": "b"}},
    "spec": {"replicas": 3, "args": ["--x", "--y"], "empty": {}},
}


def test_the_same_object_does_not_change_whatever_its_server_says() -> None:
    live = copy.deepcopy(OBJ)
    live["metadata"] |= {"resourceVersion": "7", "uid": "u", "generation": 2, "managedFields": [{"x": 1}]}
    live["status"] = {"replicas": 3}
    assert changes(live, OBJ) == []


def test_each_field_that_changes_is_a_pair_of_lines() -> None:
    after = copy.deepcopy(OBJ)
    after["spec"] |= {"replicas": 4, "args": ["--x"], "new": True}
    assert changes(OBJ, after) == [
        "- spec.replicas: 3", "+ spec.replicas: 4", "- spec.args[1]: --y", "+ spec.new: True"
    ]  # fmt: skip


def test_of_what_is_not_there_yet_all_is_new() -> None:
    lines = changes(None, OBJ)
    assert "+ spec.empty: {}" in lines
    assert len(lines) == 8
    assert all(line.startswith("+ ") for line in lines)


def test_values_that_may_be_secret_are_not_shown() -> None:
    command = ["serve", "--api-key", "open", "sesame", "--hf_token=abc", "--max-num-batched-tokens", "8192"]
    script = "exec vllm serve m --api-key='open sesame' --tokenizer t \\\n  --ssl-keyfile-password abc"
    env = [
        {"name": "VLLM_API_KEY", "value": "sesame"},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s"}}},
    ]
    container = {"command": command, "args": ["-c", script], "env": env}
    lines = changes(None, {"apiVersion": "v1", "metadata": {}, "spec": {"containers": [container]}})
    shown = [line.partition(": ")[2] for line in lines][2:]
    assert shown == [
        *("serve", "--api-key", "…", "…", "--hf_token=…", "--max-num-batched-tokens", "8192", "-c"),
        "exec vllm serve m --api-key=… --tokenizer t \\\n  --ssl-keyfile-password …",
        *("VLLM_API_KEY", "…", "B", "s"),
    ]
    other = {
        "apiVersion": "v1",
        "metadata": {},
        "spec": {"containers": [{"env": [{"name": "A", "value": "1"}]}]},
    }
    again = {
        "apiVersion": "v1",
        "metadata": {},
        "spec": {"containers": [{"env": [{"name": "A", "value": "2"}]}]},
    }
    where = "spec.containers[0].env[0].value"
    assert changes(other, again) == [f"- {where}: …", f"+ {where}: …"]
