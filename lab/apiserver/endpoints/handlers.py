"""Requests on resources: every verb, from the URL and the body to the bytes of the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

from lab.apiserver.access.auth import User
from lab.apiserver.access.rbac import Authorizer
from lab.apiserver.changes.patch import (
    MOST_OPERATIONS,
    MergeKeyMissing,
    PatchFailed,
    PatchMalformed,
    json_patch,
    merge_patch,
    strategic_merge_patch,
)
from lab.apiserver.content import protobuf_writer, tables
from lab.apiserver.content.documents import as_yaml, media_type, read_json, read_object, read_yaml
from lab.apiserver.content.negotiation import BINARY_TYPE, JSON_TYPE, YAML_TYPE, View, view_of
from lab.apiserver.endpoints import listing
from lab.apiserver.endpoints.options import (
    APPLY,
    ListOptions,
    delete_options,
    included,
    list_options,
    write_options,
)
from lab.apiserver.endpoints.subresources import Subresources
from lab.apiserver.endpoints.target import Target
from lab.apiserver.errors import (
    ApiError,
    bad_request,
    not_acceptable,
    not_found,
    unsupported_media,
    unsupported_patch,
)
from lab.apiserver.kinds.conversion import to_served
from lab.apiserver.kinds.resources import Resource
from lab.apiserver.registry.admission import Call
from lab.apiserver.registry.cluster import now_text
from lab.apiserver.registry.deletion import Deletion
from lab.apiserver.registry.operations import Operations
from lab.apiserver.storage.history import Entry, Reader, encode
from lab.apiserver.types.schema import Object

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
STREAMED = (f"{JSON_TYPE};stream=watch",)
CREATE, UPDATE, PATCH, DELETE = "CreateOptions", "UpdateOptions", "PatchOptions", "DeleteOptions"

Query = Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """What goes back to the client."""

    body: bytes
    code: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class Handlers:
    """The verbs of the REST API on top of `operations`."""

    def __init__(
        self,
        operations: Operations,
        deletion: Deletion,
        subresources: Subresources,
        authorizer: Authorizer,
    ) -> None:
        self.authorizer = authorizer
        self.operations = operations
        self.objects = operations.objects
        self.store = operations.objects.store
        self.deletion = deletion
        self.subresources = subresources

    async def answer(
        self, request: web.BaseRequest, target: Target, verb: str, user: User, reader: Reader
    ) -> Answer:
        """Everything but watches and proxies; reads see what `reader` shows. Raises ApiError."""
        view = self._view(request.headers.get("Accept", ""), target, verb)
        if verb == "get" and not target.subresource:
            answer = self._get(target, request.query, view, reader)
        elif verb == "list":
            answer = self._list(target, request.query, view, reader)
        else:
            answer = self._other(request, target, verb, user, await request.read(), view, reader)
        return _in_yaml(answer) if view.yaml else answer

    def _view(self, accept: str, target: Target, verb: str) -> View:
        custom = target.resource.custom
        read = BINARY_TYPE in accept and verb == "get" and not target.subresource and not custom
        return view_of(accept, custom, read and protobuf_writer.writable(target.resource))

    def _other(
        self,
        request: web.BaseRequest,
        target: Target,
        verb: str,
        user: User,
        raw: bytes,
        view: View,
        reader: Reader,
    ) -> Answer:
        if target.subresource and target.subresource != "status":
            return self._subresource(request, target, verb, raw)
        methods: dict[str, Callable[..., Answer]] = {
            "get": lambda *_: self._get(target, request.query, view, reader),
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_collection,
        }
        return methods[verb](request, target, user, raw)

    def watch(self, target: Target, query: Query, accept: str) -> listing.Watch:
        """A stream of the changes to a collection or an object. Raises ApiError."""
        options = list_options(query)
        if target.name:
            selector = f"metadata.name={target.name}"
            options = ListOptions(**{**vars(options), "field_selector": selector})
        selection = listing.Selection.of(target.resource, target.namespace, options)
        view = view_of(accept, target.resource.custom)
        if view.yaml:
            raise not_acceptable(STREAMED)
        frame = (
            listing.json_frame(target.resource) if view.plain else self._frame(target.resource, view, query)
        )
        return listing.Watch(self.store, selection, options, frame)

    def _frame(self, resource: Resource, view: View, query: Query) -> listing.Frame:
        include = included(query)
        told = False

        def frame(kind: str, entry: Entry) -> bytes:
            nonlocal told
            document = to_served(resource, entry.object())
            if view.table:
                version = {"resourceVersion": str(entry.version)}
                shown = tables.table(resource, [document], include, version)
                if told:
                    shown["columnDefinitions"] = None
                told = True
            else:
                shown = tables.partial(document)
            return encode({"type": kind, "object": shown}) + b"\n"

        return frame

    def _get(self, target: Target, query: Query, view: View, reader: Reader) -> Answer:
        resource = target.resource
        entry = reader.get(resource.table, target.namespace, target.name)
        if entry is None:
            raise not_found(resource.plural, resource.group, target.name)
        if view.plain:
            return Answer(listing.body_of(resource, entry))
        document = to_served(resource, entry.object())
        if view.binary:
            return Answer(protobuf_writer.write(resource, document), headers={"Content-Type": BINARY_TYPE})
        if view.table:
            metadata = {"resourceVersion": str(entry.version)}
            return Answer(encode(tables.table(resource, [document], included(query), metadata)))
        return Answer(encode(tables.partial(document)))

    def _list(self, target: Target, query: Query, view: View, reader: Reader) -> Answer:
        resource, options = target.resource, list_options(query)
        selection = listing.Selection.of(resource, target.namespace, options)
        page = listing.page(reader, selection, options)
        if view.plain:
            return Answer(listing.list_body(resource, page))
        objects = [to_served(resource, entry.object()) for entry in page.entries]
        if view.table:
            return Answer(encode(tables.table(resource, objects, included(query), page.metadata)))
        items = [tables.partial(item) for item in objects]
        head = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
        return Answer(encode({**head, "metadata": page.metadata, "items": items}))

    def _options(self, request: web.BaseRequest, kind: str, media: str = "") -> Call:
        agent = request.headers.get("User-Agent", "")
        return write_options(request.query, agent, now_text(), kind, media)

    def _creation(self, target: Target, user: User) -> Callable[[], None]:
        return lambda: self.authorizer.demand(user, target.action("create"))

    def _object(self, request: web.BaseRequest, raw: bytes, resource: Resource, call: Call) -> Object:
        media = request.headers.get("Content-Type", "")
        kinds = {} if resource.custom else {resource.kind: resource}
        document, call.repeated = read_object(raw, media, resource.kind, kinds)
        return document

    def _create(self, request: web.BaseRequest, target: Target, user: User, raw: bytes) -> Answer:
        call = self._options(request, CREATE)
        resource = target.resource
        document = self._object(request, raw, resource, call)
        if resource.is_review:
            return Answer(
                encode(self.subresources.review(resource, target.namespace, document, user, call)), 201
            )
        made = self.operations.create(resource, target.namespace, document, call)
        return self._answer(resource, made, call.warnings, 201)

    def _update(self, request: web.BaseRequest, target: Target, user: User, raw: bytes) -> Answer:
        call = self._options(request, UPDATE)
        call.may_create = self._creation(target, user)
        document = self._object(request, raw, target.resource, call)
        new, created = self.operations.replace(
            target.resource, target.namespace, target.name, document, call, target.subresource
        )
        return self._answer(target.resource, new, call.warnings, 201 if created else 200)

    def _patch(self, request: web.BaseRequest, target: Target, user: User, raw: bytes) -> Answer:
        resource = target.resource
        media = media_type(request.headers.get("Content-Type", ""))
        offered = [JSON_PATCH, MERGE_PATCH, *([] if resource.custom else [STRATEGIC_PATCH]), APPLY]
        if media not in offered:
            raise unsupported_media(offered) if resource.custom else unsupported_patch()
        call = self._options(request, PATCH, media)
        call.may_create = self._creation(target, user)
        place = (resource, target.namespace, target.name)
        if media == APPLY:
            config = read_yaml(raw)
            if not isinstance(config, dict):
                raise bad_request("error decoding YAML: the patch is no object")
            new, created = self.operations.apply(*place, config, call, target.subresource)
            return self._answer(resource, new, call.warnings, 201 if created else 200)
        change = patch_function(resource, media, raw)
        new = self.operations.patch(*place, change, call, target.subresource)
        return self._answer(resource, new, call.warnings)

    def _delete(self, request: web.BaseRequest, target: Target, user: User, raw: bytes) -> Answer:
        options, call = self._delete_options(request, raw)
        gone = self.deletion.delete(target.resource, target.namespace, target.name, options, call)
        return Answer(encode(gone))

    def _delete_collection(self, request: web.BaseRequest, target: Target, user: User, raw: bytes) -> Answer:
        options, call = self._delete_options(request, raw)
        resource = target.resource
        selection = listing.Selection.of(resource, target.namespace, list_options(request.query))
        entries = list(selection.entries(self.store))
        body = listing.list_body(
            resource, listing.Page(entries, {"resourceVersion": str(self.store.version)})
        )
        for entry in entries:
            self.deletion.delete(resource, entry.namespace, entry.name, options, call)
        return Answer(body)

    def _delete_options(self, request: web.BaseRequest, raw: bytes) -> tuple[Object, Call]:
        media = request.headers.get("Content-Type", "")
        body = read_object(raw, media, DELETE, {})[0] if raw.strip() else None
        options = delete_options(request.query, body)
        manager = request.headers.get("User-Agent", "")
        return options, Call(manager, now_text(), dry_run=bool(options.get("dryRun")))

    def _subresource(self, request: web.BaseRequest, target: Target, verb: str, raw: bytes) -> Answer:
        media = media_type(request.headers.get("Content-Type", ""))
        kind = {"create": CREATE, "patch": PATCH}.get(verb, UPDATE)
        call = self._options(request, kind, media)
        document: Any = None
        if verb == "patch":
            document = patch_function(target.resource, media, raw)
        elif verb in ("create", "update"):
            document, _ = read_object(raw, media, target.subresource, self.objects.catalog.embedded)
        made, code = self.subresources.answer(target, verb, document, call)
        return Answer(encode(made), code)

    def _answer(self, resource: Resource, document: Object, warnings: list[str], code: int = 200) -> Answer:
        if resource.warning:
            warnings = [resource.warning, *warnings]
        headers = {"Warning": ", ".join(f'299 - "{_quoted(text)}"' for text in warnings)} if warnings else {}
        return Answer(encode(document), code, headers)


def _in_yaml(answer: Answer) -> Answer:
    headers = {**answer.headers, "Content-Type": YAML_TYPE}
    return replace(answer, body=as_yaml(answer.body), headers=headers)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def patch_function(resource: Resource, media: str, raw: bytes) -> Callable[[Object], Any]:
    """The patch as a function on objects; it raises ApiError where it does not apply."""
    patch = read_json(raw, "patch")
    if media == JSON_PATCH and isinstance(patch, list) and len(patch) > MOST_OPERATIONS:
        text = f"The allowed maximum operations in a JSON patch is {MOST_OPERATIONS}, got {len(patch)}"
        raise ApiError(413, "RequestEntityTooLarge", text)
    if media != JSON_PATCH and not isinstance(patch, dict):
        raise bad_request("error decoding patch: json: cannot unmarshal array into Go value of type map")

    def change(document: Object) -> Any:
        try:
            if media == JSON_PATCH:
                return json_patch(document, patch)
            if media == STRATEGIC_PATCH:
                return strategic_merge_patch(resource.schema, document, patch)
            return merge_patch(document, patch)
        except PatchMalformed as error:
            raise bad_request(str(error)) from error
        except PatchFailed as error:
            message = "the server rejected our request due to an error in our request"
            raise ApiError(422, "Invalid", message, {}) from error
        except MergeKeyMissing as error:
            raise ApiError(500, "", str(error)) from error

    return change
