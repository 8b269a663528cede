"""Recorded conversations with a real API server, replayed; the lab's own kinds against the upstream ones."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.lab.apiserver_process import ROOT, ApiServer

CONTRACT = ROOT.parent / "shared" / "kube-contract"
OURS = ROOT / "lab" / "crds"
AGE = re.compile(r'cells\[\d+\]: want "\d+s", got "\d+s"$')
"""A difference of how long the replay took."""
pytestmark = pytest.mark.skipif(not CONTRACT.exists(), reason="no recorded conversations here")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with ApiServer(tmp_path_factory.mktemp("contract"), CONTRACT / "crds") as running:
        yield running


@pytest.mark.parametrize("recorded", ["cases.json", "cases-2.json"])
def test_every_recorded_conversation_agrees(server: ApiServer, recorded: str) -> None:
    cases = CONTRACT / recorded
    if not cases.exists():
        pytest.skip(f"no {recorded} here")
    command = [sys.executable, str(CONTRACT / "replay.py"), server.url, "--token", server.token]
    done = subprocess.run(
        [*command, "--cases", str(cases), "--json"], capture_output=True, text=True, timeout=480
    )
    found = {case: [text for text in texts if not AGE.search(text)] for case, texts in _report(done).items()}
    assert not any(found.values()), json.dumps(found, indent=1)


def _report(done: subprocess.CompletedProcess[str]) -> dict[str, list[str]]:
    """The differences of each conversation."""
    assert done.returncode in (0, 1), done.stderr
    report: dict[str, list[str]] = json.loads(done.stdout)
    return report


def _definitions(folder: Path) -> dict[str, Any]:
    documents = [d for path in folder.rglob("*.yaml") for d in yaml.safe_load_all(path.read_text()) if d]
    return {document["metadata"]["name"]: document for document in documents}


def _constraints(node: Any, names: bool = False) -> Any:
    """A schema less its prose; of rules, how many there are."""
    if isinstance(node, list):
        return [_constraints(item) for item in node]
    if not isinstance(node, dict):
        return node
    out: dict[str, Any] = {}
    for key, value in node.items():
        if key == "description" and not names:
            continue
        if key == "x-kubernetes-validations" and not names:
            out[key] = len(value)
        elif key in ("required", "enum") and not names:
            out[key] = sorted(value, key=str)
        else:
            out[key] = _constraints(value, key == "properties" and not names)
    return out


def test_our_kinds_carry_the_limits_of_the_upstream_ones() -> None:
    upstream, ours = _definitions(CONTRACT / "crds"), _definitions(OURS)
    assert upstream.keys() <= ours.keys()
    for name, theirs in upstream.items():
        for version in theirs["spec"]["versions"]:
            mine = next(v for v in ours[name]["spec"]["versions"] if v["name"] == version["name"])
            assert _constraints(mine["schema"]) == _constraints(version["schema"]), (name, version["name"])
        assert ours[name]["spec"]["names"] == theirs["spec"]["names"]


BAD_ROUTES: dict[str, dict[str, Any]] = {
    "a Service without port": {"rules": [{"backendRefs": [{"name": "s"}]}]},
    "relative path": {"rules": [{"matches": [{"path": {"value": "x"}}]}]},
    "double slash": {"rules": [{"matches": [{"path": {"value": "/a//b"}}]}]},
    "odd characters": {"rules": [{"matches": [{"path": {"value": "/a b"}}]}]},
    "dots at the end": {"rules": [{"matches": [{"path": {"value": "/a/.."}}]}]},
    "redirect and backends": {
        "rules": [
            {
                "filters": [{"type": "RequestRedirect", "requestRedirect": {}}],
                "backendRefs": [{"name": "s", "port": 1}],
            }
        ]
    },
    "redirect and rewrite": {
        "rules": [
            {
                "filters": [
                    {"type": "RequestRedirect", "requestRedirect": {}},
                    {"type": "URLRewrite", "urlRewrite": {}},
                ]
            }
        ]
    },
    "filter of another type": {"rules": [{"filters": [{"type": "CORS", "urlRewrite": {}}]}]},
    "prefix rewrite of an exact match": {
        "rules": [
            {
                "matches": [{"path": {"type": "Exact", "value": "/a"}}],
                "filters": [
                    {
                        "type": "URLRewrite",
                        "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/b"}},
                    }
                ],
            }
        ]
    },
    "same parent twice": {"parentRefs": [{"name": "g"}, {"name": "g"}]},
    "one section of two": {"parentRefs": [{"name": "g", "sectionName": "a"}, {"name": "g"}]},
    "same section twice": {
        "parentRefs": [{"name": "g", "sectionName": "a"}, {"name": "g", "sectionName": "a"}]
    },
    "sections of two namespaces": {"parentRefs": [{"name": "g"}, {"name": "g", "namespace": "other"}]},
    "backend slower than request": {"rules": [{"timeouts": {"request": "1s", "backendRequest": "2s"}}]},
    "too many matches": {"rules": [{"matches": [{"path": {"value": f"/{i}"}} for i in range(64)]}] * 3},
    "no filter body": {"rules": [{"filters": [{"type": "RequestMirror"}]}]},
    "percent and fraction": {
        "rules": [
            {
                "filters": [
                    {
                        "type": "RequestMirror",
                        "requestMirror": {
                            "backendRef": {"name": "s", "port": 1},
                            "percent": 1,
                            "fraction": {"numerator": 1},
                        },
                    }
                ]
            }
        ]
    },
    "weight too large": {"rules": [{"backendRefs": [{"name": "s", "port": 1, "weight": 1000001}]}]},
    "nothing wrong": {"rules": [{"backendRefs": [{"name": "s", "port": 1}]}], "hostnames": ["*.example"]},
}
BAD_GATEWAYS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "tls on HTTP": [{"name": "a", "port": 1, "protocol": "HTTP", "tls": {"options": {"a": "b"}}}],
    "same port twice": [{"name": n, "port": 1, "protocol": "HTTP"} for n in "ab"],
    "same name twice": [{"name": "a", "port": p, "protocol": "HTTP"} for p in (1, 2)],
    "hostname on TCP": [{"name": "a", "port": 1, "protocol": "TCP", "hostname": "x"}],
    "TLS without mode": [{"name": "a", "port": 1, "protocol": "TLS"}],
    "HTTPS passed through": [{"name": "a", "port": 1, "protocol": "HTTPS", "tls": {"mode": "Passthrough"}}],
    "HTTPS without certificate": [{"name": "a", "port": 1, "protocol": "HTTPS", "tls": {}}],
    "fine": [{"name": "a", "port": 80, "protocol": "HTTP"}],
}


def _judged(server: ApiServer, kind: str, spec: dict[str, Any]) -> Any:
    document = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": "x"},
        "spec": spec,
    }
    path = f"/apis/gateway.networking.k8s.io/v1/namespaces/default/{kind.lower()}s?dryRun=All"
    reply = server.call("POST", path, document)
    if reply.code == 201:
        return reply.body["spec"]
    causes = reply.body.get("details", {}).get("causes", [])
    return reply.code, sorted((cause["field"], cause["reason"]) for cause in causes)


def test_our_rules_refuse_what_the_upstream_rules_refuse(server: ApiServer, tmp_path: Path) -> None:
    with ApiServer(tmp_path, OURS) as ours:
        for name, spec in BAD_ROUTES.items():
            assert _judged(ours, "HTTPRoute", spec) == _judged(server, "HTTPRoute", spec), name
        for name, listeners in BAD_GATEWAYS.items():
            gateway = {"gatewayClassName": "c", "listeners": listeners}
            assert _judged(ours, "Gateway", gateway) == _judged(server, "Gateway", gateway), name
