"""What a rollout changes for clients beside the answers: what they may ask, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from inference_rollouts.core.objects.secret_words import HIDDEN
from inference_rollouts.core.objects.takeover import Finding, Verdict
from inference_rollouts.core.serving.adapters import Served
from inference_rollouts.core.serving.engines.vllm import Options

CLIENTS = "Clients"
"""The object of these rows: a plan accepts one as `Clients.context-length`."""
CONTEXT = "context-length"
ACCESS = "api-key"
_CONTEXT_FLAG = "--max-model-len"
_KEY_FLAG = "--api-key"
# What clients notice, and the flags that say it.
_NOTICED = {
    "tokenizer": ("--tokenizer", "--tokenizer-mode", "--tokenizer-revision"),
    "chat-template": ("--chat-template", "--chat-template-content-format", "--response-role"),
    "tool-parser": ("--tool-call-parser", "--enable-auto-tool-choice", "--tool-parser-plugin"),
    "reasoning-parser": ("--reasoning-parser", "--enable-reasoning"),
    "quantization": ("--quantization",),
}


def client_findings(today: Options, new: Options) -> Iterator[Finding]:
    """What the command line of the new servers changes for clients of today's."""
    if today.get("") != new.get(""):
        yield _row("model", today.get("", ()), new.get("", ()), Verdict.CHANGED)
    for what, flags in _NOTICED.items():
        before, after = (_said(options, flags) for options in (today, new))
        if before != after:
            yield _row(what, before, after, Verdict.DIFFERS, essential=True)
    keys = [set(options.get(_KEY_FLAG, ())) for options in (today, new)]
    if keys[0] != keys[1]:
        before, after = ([HIDDEN] if each else [] for each in keys)
        yield _row(ACCESS, before, after, Verdict.DIFFERS, essential=True)
    yield from _context(today.get(_CONTEXT_FLAG, ()), new.get(_CONTEXT_FLAG, ()))


def _context(before: Sequence[str], after: Sequence[str]) -> Iterator[Finding]:
    """A limit where there was none, other than the model's own, is taken for a smaller one."""
    if before == after:
        return
    was, now = _tokens(before), _tokens(after)
    less = now is not None and (was is None or now < was)
    own = ("the model's own",)
    yield _row(CONTEXT, before or own, after or own, Verdict.DIFFERS, essential=less)


def shorter_context(today: Iterable[Served], new: Iterable[Served]) -> str:
    """A phrase if a server takes less of a text than those of today, by its own word; else empty."""
    before = max((each.max_model_len or 0 for each in today), default=0)
    after = min((each.max_model_len for each in new if each.max_model_len), default=None)
    if after is None or after >= before:
        return ""
    return f"takes {after} tokens at most, where stable takes {before}: long prompts would fail"


def other_access(today: bool, new: bool) -> str:
    """A phrase where a server wants a key and those of today do not, or the other way round; else empty."""
    if new and not today:
        return "wants an API key, which stable does not: clients that send none would be refused"
    return "answers without the API key that stable wants" if today and not new else ""


def _row(
    what: str, before: Sequence[str], after: Sequence[str], verdict: Verdict, *, essential: bool = False
) -> Finding:
    return Finding(CLIENTS, what, " ".join(before), " ".join(after), verdict, essential=essential)


def _said(options: Options, flags: Iterable[str]) -> list[str]:
    return [" ".join((flag, *options[flag])) for flag in flags if flag in options]


def _tokens(values: Sequence[str]) -> int | None:
    """A number of tokens, also as `32k` (thousands) or `32K` (of 1024); None where it is none, or `auto`."""
    text = values[0] if values else ""
    unit = {"k": 1000, "K": 1024, "m": 10**6, "M": 1024**2}.get(text[-1:], 1)
    number = text[:-1] if unit > 1 else text
    return int(number) * unit if number.isdecimal() else None
