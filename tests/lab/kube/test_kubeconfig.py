"""Ways to log in: a server over TLS that asks for a client certificate or a token, and kubeconfigs for it."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from lab.apiserver.endpoints.certificates import ensure
from lab.kube.client import Kube, KubeError
from lab.kube.kubeconfig import load_kubeconfig, minified

Config = dict[str, Any]


def inline(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def config(server: str, cluster: Config, user: Config) -> Config:
    return {
        "current-context": "other",
        "contexts": [
            {"name": "mine", "context": {"cluster": "c", "user": "u", "namespace": "llm"}},
            {"name": "other", "context": {"cluster": "c", "user": "nobody"}},
        ],
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": user}, {"name": "nobody", "user": {}}],
    }


def client_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")])
    moment = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, moment, moment + timedelta(hours=1))
    public, private = folder / "client.crt", folder / "client.key"
    public.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return public, private


def answer(folder: Path, cluster: Config, user: Config, trusted: Path | None = None) -> str:
    """Who the server takes us for when we come with a minified kubeconfig, moved to another folder."""
    _, public, key = ensure(folder)

    async def main() -> str:
        async def whoami(request: web.Request) -> web.Response:
            transport = request.transport
            shown = bool(transport and transport.get_extra_info("peercert"))
            return web.json_response({"certificate": shown, "token": request.headers.get("Authorization")})

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(public, key)
        if trusted:
            context.load_verify_locations(trusted)
            context.verify_mode = ssl.CERT_REQUIRED
        app = web.Application()
        app.router.add_get("/{tail:.*}", whoami)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        try:
            written = folder / "kubeconfig"
            url = f"https://127.0.0.1:{runner.addresses[0][1]}"
            written.write_text(json.dumps(config(url, cluster, user)))
            moved = folder / "elsewhere" / "kubeconfig"
            moved.parent.mkdir()
            moved.write_text(json.dumps(minified(written, "mine")))
            async with Kube.from_kubeconfig(moved) as kube:
                assert kube.namespace == "llm"
                return json.dumps(await kube.get("/"), sort_keys=True)
        finally:
            await runner.cleanup()

    return asyncio.run(main())


@pytest.mark.parametrize(
    "cluster",
    [
        lambda folder: {"certificate-authority": "ca.crt"},
        lambda folder: {"certificate-authority-data": inline(folder / "ca.crt")},
        lambda folder: {"insecure-skip-tls-verify": True},
    ],
    ids=["file", "inline", "insecure"],
)
@pytest.mark.parametrize("token", [{"token": "t"}, {"tokenFile": "token"}], ids=["token", "file"])
def test_tokens(tmp_path: Path, cluster: Callable[[Path], Config], token: Config) -> None:
    ensure(tmp_path)
    (tmp_path / "token").write_text("t\n")
    text = answer(tmp_path, cluster(tmp_path), token)
    assert json.loads(text) == {"certificate": False, "token": "Bearer t"}


@pytest.mark.parametrize("as_files", [True, False], ids=["files", "inline"])
def test_client_certificates(tmp_path: Path, as_files: bool) -> None:
    public, key = client_certificate(tmp_path)
    user = {"client-certificate": public.name, "client-key": str(key)}
    if not as_files:
        user = {"client-certificate-data": inline(public), "client-key-data": inline(key)}
    text = answer(tmp_path, {"certificate-authority": "ca.crt"}, user, trusted=public)
    assert json.loads(text) == {"certificate": True, "token": None}


def test_an_unknown_authority_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KubeError, match="certificate verify failed"):
        answer(tmp_path, {}, {"token": "t"})


def test_a_minified_kubeconfig_is_of_one_context_and_namespace(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config("http://127.0.0.1:1", {}, {"token": "t"})))
    made = minified(path, "mine", "elsewhere")
    (tmp_path / "made").write_text(json.dumps(made))
    endpoint = load_kubeconfig(tmp_path / "made")
    assert (endpoint.namespace, endpoint.headers) == ("elsewhere", {"Authorization": "Bearer t"})
    assert len(made["users"]) == 1
    assert load_kubeconfig(path).headers == {}
    with pytest.raises(ValueError, match="no context named 'absent'"):
        minified(path, "absent")
