"""The HTTP server: who asks, may he, what for; then the handlers. One process, one event loop."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import ssl
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from . import certificates, crds, discovery, openapi, rbac, reviews, target
from .admission import Call
from .auth import Authenticator
from .deletion import Deletion
from .errors import ApiError, method_not_allowed, page_not_found
from .handlers import Answer, Handlers, now_text
from .identity import user_of
from .negotiation import view_of
from .objects import Objects
from .operations import Operations
from .resources import Resource, builtin_catalog
from .schema import Object
from .store import Store, encode
from .subresources import Subresources

log = logging.getLogger(__name__)
OPEN_PATHS = re.compile(r"/(healthz|readyz|livez)(/.*)?|/version/?")
RESOURCE_PATH = re.compile(r"/api/[^/]+/.+|/apis/[^/]+/[^/]+/.+")
VERSION = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.2-lab",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "python",
    "platform": "linux/amd64",
}
FIRST_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
SYNC_SECONDS = 1.0


class Server:
    """Serves one state directory. `start` returns the URL, `stop` leaves everything on disk."""

    def __init__(self, directory: Path, definitions: Path | None) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.store = Store(directory)
        self.catalog = builtin_catalog()
        objects = Objects(self.store, self.catalog)
        self.operations = Operations(objects)
        deletion = Deletion(objects)
        self.authenticator = Authenticator(directory, self.store)
        self.authorizer = rbac.Authorizer(self.store)
        answers = reviews.answers(self.authenticator, self.authorizer)
        subresources = Subresources(self.operations, deletion, self.authenticator.accounts, answers)
        self.handlers = Handlers(self.operations, deletion, subresources, self.authorizer)
        objects.after_write += [self._follow_definitions, self._follow_roles]
        self.watches: set[Any] = set()
        self.url = ""
        self._documents: dict[str, bytes] = {}
        for resource in self.catalog:
            self.store.index(
                resource.table, resource.selectable
            ) if resource.group != "events.k8s.io" else None
        self._begin(definitions)

    # -- life ---------------------------------------------------------------------------------------

    async def start(self, port: int) -> str:
        ca, certificate, key = certificates.ensure(self.directory)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._runner = web.ServerRunner(web.Server(self.handle, access_log=None))
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=context, reuse_address=True)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"https://127.0.0.1:{port}"
        self._sync = asyncio.create_task(self._sync_often())
        write_kubeconfig(self.directory / "kubeconfig", self.url, ca, self.authenticator.file.admin())
        return self.url

    async def stop(self) -> None:
        self._sync.cancel()
        for watch in tuple(self.watches):
            watch.stop()
        await self._runner.cleanup()
        self.store.close()

    async def _sync_often(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SYNC_SECONDS)
            await loop.run_in_executor(None, self.store.sync)

    def _begin(self, definitions: Path | None) -> None:
        definition_resource = self._resource("apiextensions.k8s.io", "customresourcedefinitions")
        for entry in self.store.select(definition_resource.table):
            self._install(entry.object())
        call = Call(manager="lab", now=now_text())
        namespace = self._resource("", "namespaces")
        for name in FIRST_NAMESPACES:
            if not self.store.get("namespaces", "", name):
                self.operations.create(namespace, "", {"metadata": {"name": name}}, call)
        for plural, document in rbac.first_roles():
            resource = self._resource(rbac.GROUP, plural)
            if not self.store.get(resource.table, "", document["metadata"]["name"]):
                self.operations.create(resource, "", document, call)
        for document in read_documents(definitions) if definitions else []:
            name = document["metadata"]["name"]
            call = Call(manager="lab", now=now_text(), force=True)
            self.operations.apply(definition_resource, "", name, document, call)

    def _resource(self, group: str, plural: str) -> Resource:
        resource = self.catalog.find(group, "v1", plural)
        assert resource is not None
        return resource

    # -- custom kinds -------------------------------------------------------------------------------

    def _follow_definitions(self, resource: Resource, old: Object | None, new: Object | None) -> None:
        """Serves kinds as soon as their definition is stored, until it is gone."""
        if resource.kind != "CustomResourceDefinition" or resource.custom:
            return
        self._documents.clear()
        if new is None:
            assert old is not None
            spec = old["spec"]
            self.catalog.remove(spec["group"], spec["names"]["plural"])
            self.store.drop_table(f"{spec['names']['plural']}.{spec['group']}")
            return
        self._install(new)

    def _follow_roles(self, resource: Resource, old: Object | None, new: Object | None) -> None:
        if resource.kind in rbac.KINDS:
            self.authorizer.forget()

    def _install(self, definition: Object) -> None:
        crds.install(self.catalog, definition)
        for resource in crds.resources_of(definition):
            self.store.index(resource.table, resource.selectable)

    # -- requests -----------------------------------------------------------------------------------

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._route(request)
        except ApiError as error:
            return _response(Answer(encode(error.status()), error.code, error.headers))
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:
            log.exception("%s %s", request.method, request.path)
            failure = ApiError(500, "InternalError", f"Internal error occurred: {error}")
            return _response(Answer(encode(failure.status()), 500))

    async def _route(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if OPEN_PATHS.fullmatch(path):
            return _open_answer(path)
        user = user_of(request.headers, self.authenticator, self.authorizer)
        if not RESOURCE_PATH.fullmatch(path):
            self.authorizer.demand(user, rbac.Action(request.method.lower(), path=path))
            return self._describe(request, path)
        found = target.find(self.catalog, request.rel_url.raw_path)
        verb = found.verb(request.method, request.query.get("watch", "") in ("1", "true"))
        if not verb or (verb not in found.resource.verbs and not found.subresource):
            raise method_not_allowed()
        if not user.is_master:
            self.authorizer.demand(user, found.action(verb))
        if verb == "watch":
            return await self._watch(request, found)
        return _response(await self.handlers.answer(request, found, verb, user))

    async def _watch(self, request: web.BaseRequest, found: target.Target) -> web.StreamResponse:
        watch = self.handlers.watch(found, request.query, request.headers.get("Accept", ""))
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        self.watches.add(watch)
        try:
            await response.prepare(request)
            async for lines in watch.lines():
                await response.write(lines)
            await response.write_eof()
        except ConnectionError:
            pass
        finally:
            self.watches.discard(watch)
        return response

    def _describe(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        """Discovery and OpenAPI documents."""
        if request.method not in ("GET", "HEAD"):
            raise method_not_allowed()
        view = view_of(request.headers.get("Accept", ""))
        aggregated = view.as_kind == "APIGroupDiscoveryList" and path in ("/api", "/apis")
        key = f"{path} {aggregated}"
        if key not in self._documents:
            document = (
                discovery.aggregated(self.catalog, path == "/api") if aggregated else self._document(path)
            )
            self._documents[key] = encode(document)
        headers = {"Vary": "Accept"}
        if aggregated:
            headers["Content-Type"] = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        return _response(Answer(self._documents[key], 200, headers))

    def _document(self, path: str) -> Object:
        parts = path.strip("/").split("/")
        match parts:
            case ["api"]:
                return discovery.legacy_versions(self.url.removeprefix("https://"))
            case ["apis"]:
                return discovery.group_list(self.catalog)
            case ["apis", name] if name in self.catalog.groups():
                group = discovery.group(self.catalog, name)
                return {"kind": "APIGroup", "apiVersion": "v1", **group}
            case ["api", "v1"]:
                return discovery.resource_list(self.catalog.of_group("", "v1"))
            case ["apis", name, version] if self.catalog.of_group(name, version):
                return discovery.resource_list(self.catalog.of_group(name, version))
            case ["openapi", "v3"]:
                return openapi.index(self.catalog)
            case ["openapi", "v3", "api", "v1"]:
                return openapi.document(self.catalog.of_group("", "v1"))
            case ["openapi", "v3", "apis", name, version] if self.catalog.of_group(name, version):
                return openapi.document(self.catalog.of_group(name, version))
        raise page_not_found()


def _open_answer(path: str) -> web.Response:
    if path.startswith("/version"):
        return web.json_response(VERSION)
    return web.Response(text="ok")


def _response(answer: Answer) -> web.Response:
    headers = {"Content-Type": "application/json", "Cache-Control": "no-cache, private", **answer.headers}
    return web.Response(body=answer.body, status=answer.code, headers=headers)


def read_documents(folder: Path) -> list[Object]:
    """Every document of the YAML files of a folder, in the order of their names."""
    found = []
    for path in sorted(folder.glob("*.yaml")):
        found += [item for item in yaml.load_all(path.read_text(), yaml.CSafeLoader) if item]
    return found


def write_kubeconfig(path: Path, url: str, ca: Path, token: str) -> None:
    """Writes a kubeconfig for the lab's administrator, at once or not at all."""
    import base64

    authority = base64.b64encode(ca.read_bytes()).decode()
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": {"server": url, "certificate-authority-data": authority}}],
        "users": [{"name": "lab-admin", "user": {"token": token}}],
        "contexts": [
            {"name": "lab", "context": {"cluster": "lab", "user": "lab-admin", "namespace": "default"}}
        ],
        "current-context": "lab",
    }
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps(document, indent=2))
    fresh.replace(path)
