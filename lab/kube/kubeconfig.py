"""Reading a kubeconfig: where the API server is and how to prove who we are."""

from __future__ import annotations

import base64
import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An API server's address, its TLS context and the headers that authenticate us."""

    server: str
    ssl: ssl.SSLContext | bool
    namespace: str = "default"
    headers: dict[str, str] = field(default_factory=dict)


def load_kubeconfig(path: Path) -> Endpoint:
    """The current context of the file at `path`; ValueError when it is incomplete or unsupported."""
    context, cluster, user = _selected(path, None)
    return Endpoint(
        server=cluster["server"].rstrip("/"),
        ssl=_tls(cluster, user, path.parent),
        namespace=context.get("namespace") or "default",
        headers=_authorization(user, path.parent),
    )


def minified(path: Path, context: str | None = None, namespace: str | None = None) -> dict[str, Any]:
    """A kubeconfig of one context (None: the current one) that needs no other file; ValueError as above.

    `namespace` takes the place of the context's own.
    """
    chosen, cluster, user = _selected(path, context)
    folder = path.parent
    for section, names in (
        (cluster, ("certificate-authority",)),
        (user, ("client-certificate", "client-key")),
    ):
        for name in names:
            if material := _material(section, name, folder):
                section[f"{name}-data"] = base64.b64encode(material).decode()
            section.pop(name, None)
    if token := _authorization(user, folder).get("Authorization"):
        user["token"] = token.removeprefix("Bearer ")
    user.pop("tokenFile", None)
    where = {"namespace": namespace or chosen.get("namespace") or "default"}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": "lab", "user": user}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab", **where}}],
        "current-context": "lab",
    }


def _selected(path: Path, name: str | None) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The context of that name, or the current one, with its cluster and its user."""
    try:
        config = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not a kubeconfig: {str(error).splitlines()[0]}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path} is not a kubeconfig")
    context = _named(config, "context", name or config.get("current-context"), path)
    cluster = _named(config, "cluster", context.get("cluster"), path)
    if not cluster.get("server"):
        raise ValueError(f"{path}: this kubeconfig's cluster has no server")
    user = _named(config, "user", context.get("user"), path) if context.get("user") else {}
    if "exec" in user or "auth-provider" in user:
        raise ValueError(f"{path}: users that log in by a plugin are not supported, use a token")
    return context, cluster, user


def _named(config: dict[str, Any], kind: str, name: str | None, path: Path) -> dict[str, Any]:
    for entry in config.get(f"{kind}s") or []:
        if entry["name"] == name:
            content: dict[str, Any] = entry[kind]
            return content
    raise ValueError(f"{path} has no {kind} named {name!r}")


def _authorization(user: dict[str, Any], folder: Path) -> dict[str, str]:
    token = user.get("token")
    if not token and user.get("tokenFile"):
        token = (folder / user["tokenFile"]).read_text().strip()
    return {"Authorization": f"Bearer {token}"} if token else {}


def _tls(cluster: dict[str, Any], user: dict[str, Any], folder: Path) -> ssl.SSLContext | bool:
    if not cluster["server"].startswith("https:"):
        return True
    authority = _material(cluster, "certificate-authority", folder)
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # clusters' own authorities often fall short of it
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate = _material(user, "client-certificate", folder)
    key = _material(user, "client-key", folder)
    if certificate and key:
        with tempfile.NamedTemporaryFile() as file:
            file.write(certificate + b"\n" + key)
            file.flush()
            context.load_cert_chain(file.name)
    return context


def _material(section: dict[str, Any], name: str, folder: Path) -> bytes | None:
    """What the kubeconfig gives inline as `NAME-data`, or in the file that `NAME` points to."""
    if inline := section.get(f"{name}-data"):
        return base64.b64decode(inline)
    file = section.get(name)
    return (folder / str(file)).read_bytes() if file else None
