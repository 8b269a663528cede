"""The query parameters of a request, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lab.apiserver.errors import (
    ApiError,
    FieldError,
    bad_request,
    forbidden_field,
    invalid,
    invalid_value,
    render,
    required,
    unsupported,
)
from lab.apiserver.registry.admission import Call
from lab.apiserver.types.schema import Object

APPLY = "application/apply-patch+yaml"
LONGEST_MANAGER = 128
PROPAGATIONS = ("Foreground", "Background", "Orphan")


def is_true(text: str | None) -> bool:
    """A parameter that is there is true, unless it says 0 or false."""
    return text is not None and text.lower() not in ("0", "false")


def write_options(query: Mapping[str, str], agent: str, now: str, kind: str, media: str = "") -> Call:
    """What a write asks for. Raises ApiError 422 for values that are not allowed."""
    errors: list[FieldError] = []
    manager = query.get("fieldManager", "")
    dry_run = query.get("dryRun")
    validation = query.get("fieldValidation", "")
    if media == APPLY and not manager:
        errors.append(required("fieldManager", "is required for apply patch"))
    if len(manager) > LONGEST_MANAGER:
        detail = f"may not be more than {LONGEST_MANAGER} bytes"
        errors.append(FieldError("FieldValueTooLong", "fieldManager", detail))
    if not manager.isprintable():
        errors.append(invalid_value("fieldManager", manager, "should only contain printable characters"))
    if dry_run not in (None, "All"):
        errors.append(unsupported("dryRun", [dry_run], ["All"]))
    if validation not in ("", "Ignore", "Warn", "Strict"):
        errors.append(unsupported("fieldValidation", validation, ["Ignore", "Strict", "Warn"]))
    if "force" in query and kind == "PatchOptions" and media != APPLY:
        errors.append(forbidden_field("force", "may not be specified for non-apply patch"))
    if errors:
        raise invalid(kind, "meta.k8s.io", "", errors)
    return Call(
        manager=manager or agent.partition("/")[0][:LONGEST_MANAGER] or "unknown",
        now=now,
        dry_run=dry_run == "All",
        validation=validation or "Warn",
        force=is_true(query.get("force")),
    )


def delete_options(query: Mapping[str, str], body: Object | None) -> Object:
    """What a delete asks for: its body or, without one, its query. Raises ApiError: 400, or 422."""
    options = _queried(query) if body is None else dict(body)
    errors: list[FieldError] = []
    policy, dry_run = options.get("propagationPolicy"), options.get("dryRun") or []
    if policy is not None and options.get("orphanDependents") is not None:
        text = "orphanDependents and deletionPropagation cannot be both set"
        errors.append(invalid_value("propagationPolicy", policy, text))
    if policy is not None and policy not in PROPAGATIONS:
        errors.append(unsupported("propagationPolicy", policy, [*PROPAGATIONS, "nil"]))
    if dry_run not in ([], ["All"]):
        errors.append(unsupported("dryRun", dry_run, ["All"]))
    if errors:
        raise invalid("DeleteOptions", "meta.k8s.io", "", errors)
    if options.get("orphanDependents") is not None:
        options["propagationPolicy"] = "Orphan" if options["orphanDependents"] else "Background"
    return options


def _queried(query: Mapping[str, str]) -> Object:
    options: Object = {}
    if "propagationPolicy" in query:
        options["propagationPolicy"] = query["propagationPolicy"]
    if "orphanDependents" in query:
        options["orphanDependents"] = is_true(query["orphanDependents"])
    if "gracePeriodSeconds" in query:
        options["gracePeriodSeconds"] = _integer(query["gracePeriodSeconds"])
    if "dryRun" in query:
        options["dryRun"] = [query["dryRun"]]
    return options


@dataclass(frozen=True)
class ListOptions:
    """What a list or a watch asks for."""

    label_selector: str = ""
    field_selector: str = ""
    limit: int = 0
    continued: str = ""
    version: str = ""
    match: str = ""
    watch: bool = False
    bookmarks: bool = False
    initial_events: bool = False
    timeout: float | None = None


def list_options(query: Mapping[str, str]) -> ListOptions:
    """Raises ApiError for values that are not allowed."""
    options = ListOptions(
        label_selector=query.get("labelSelector", ""),
        field_selector=query.get("fieldSelector", ""),
        limit=_number(query, "limit"),
        continued=query.get("continue", ""),
        version=query.get("resourceVersion", ""),
        match=query.get("resourceVersionMatch", ""),
        watch=is_true(query.get("watch")),
        bookmarks=is_true(query.get("allowWatchBookmarks")),
        initial_events=is_true(query.get("sendInitialEvents")),
        timeout=_number(query, "timeoutSeconds") or None,
    )
    if options.version and not options.version.isdigit():
        raise bad_request(f'invalid resource version "{options.version}": not a number')
    _check_match(options)
    return options


def _check_match(options: ListOptions) -> None:
    errors: list[FieldError] = []
    if options.match and options.match not in ("Exact", "NotOlderThan"):
        errors.append(unsupported("resourceVersionMatch", options.match, ["Exact", "NotOlderThan", ""]))
    elif options.match and options.continued:
        text = "resourceVersionMatch is forbidden when continue is provided"
        errors.append(forbidden_field("resourceVersionMatch", text))
    elif options.match and not options.version and not options.initial_events:
        text = "resourceVersionMatch is forbidden unless resourceVersion is provided"
        errors.append(forbidden_field("resourceVersionMatch", text))
    elif options.match == "Exact" and options.version == "0":
        text = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        errors.append(forbidden_field("resourceVersionMatch", text))
    if options.watch and options.initial_events and options.match != "NotOlderThan":
        text = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        errors.append(forbidden_field("resourceVersionMatch", text))
    if errors:
        raise invalid("ListOptions", "meta.k8s.io", "", errors)
    if options.continued and options.version not in ("", "0"):
        raise bad_request("specifying resource version is not allowed when using continue")


def _number(query: Mapping[str, str], name: str) -> int:
    text = query.get(name, "")
    return max(0, _integer(text)) if text else 0


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from error


def included(query: Mapping[str, str]) -> str:
    """What each row of a table carries of its object: Metadata, Object or None. Raises ApiError 400."""
    wanted = query.get("includeObject") or "Metadata"
    if wanted not in ("Metadata", "Object", "None"):
        why = f"Invalid value: {render(wanted)}: must be 'Metadata', 'Object', 'None', or empty"
        raise bad_request(f"Unable to convert to Table as requested: includeObject: {why}")
    return wanted


def version_too_large(wanted: int, current: int) -> ApiError:
    message = f"Timeout: Too large resource version: {wanted}, current: {current}"
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    details = {"causes": [cause], "retryAfterSeconds": 1}
    return ApiError(504, "Timeout", message, details, {"Retry-After": "1"})
