"""The bodies of requests, and what vLLM says of those that make no sense."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, Field, RootModel, ValidationError, model_validator

from lab.model_server.errors import ProtocolError, invalid

MOST_STOPS = 4
SHOWN = 200  # characters of an input that an error quotes
TokenIds = list[Annotated[int, Field(ge=0)]]
Stop = str | Annotated[list[str], Field(max_length=MOST_STOPS)] | None
Body = TypeVar("Body", bound=BaseModel)
_BRANCH = re.compile(r"[\[\](){}]|^[A-Z]")


class StreamOptions(BaseModel):
    include_usage: bool | None = False


class Asking(BaseModel):
    """A request for answers: text after a prompt, or to a chat. `model` None or empty is the base model."""

    model: str | None = None
    max_tokens: int | None = None
    n: int | None = 1
    stop: Stop = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    ignore_eos: bool = False

    @model_validator(mode="before")
    @classmethod
    def _check_stream_options(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("stream_options") and not data.get("stream"):
            raise invalid("Stream options can only be defined when `stream=True`.", "stream_options")
        return data

    @property
    def limit(self) -> tuple[str, int | None]:
        """The parameter that bounds an answer, and its value in tokens."""
        return "max_tokens", self.max_tokens

    @property
    def stops(self) -> Sequence[str]:
        """Strings that end an answer."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with its counts."""
        return bool(self.stream_options and self.stream_options.include_usage)


class CompletionRequest(Asking):
    """`POST /v1/completions`; a prompt is text or token ids, and there may be several."""

    prompt: TokenIds | list[TokenIds] | str | list[str] | None = None
    max_tokens: int | None = 16

    @model_validator(mode="before")
    @classmethod
    def _check_prompt(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("prompt") in (None, ""):
            raise invalid("Either prompt or prompt_embeds must be provided and non-empty.", "prompt")
        return data

    @property
    def prompts(self) -> list[str | list[int]]:
        """The prompts one by one."""
        given = self.prompt
        if isinstance(given, str) or (given and all(isinstance(each, int) for each in given)):
            return [given]  # type: ignore[list-item]
        return list(given or ())  # type: ignore[arg-type]

    @model_validator(mode="after")
    def _default_limit(self) -> Self:
        self.max_tokens = 16 if self.max_tokens is None else self.max_tokens
        return self


class ChatRequest(Asking):
    """`POST /v1/chat/completions`."""

    messages: list[dict[str, Any]]
    max_completion_tokens: int | None = None

    @property
    def limit(self) -> tuple[str, int | None]:
        if self.max_completion_tokens is not None:
            return "max_completion_tokens", self.max_completion_tokens
        return super().limit


class TokenizeCompletionRequest(BaseModel):
    """`POST /tokenize`, of a text."""

    model: str | None = None
    prompt: str


class TokenizeChatRequest(BaseModel):
    """`POST /tokenize`, of a chat."""

    model: str | None = None
    messages: list[dict[str, Any]]


class TokenizeRequest(RootModel[TokenizeCompletionRequest | TokenizeChatRequest]):
    """`POST /tokenize`."""


class LoadAdapterRequest(BaseModel):
    """`POST /v1/load_lora_adapter`."""

    lora_name: str
    lora_path: str
    load_inplace: bool = False


class UnloadAdapterRequest(BaseModel):
    """`POST /v1/unload_lora_adapter`."""

    lora_name: str


def parse(raw: bytes, content_type: str, body: type[Body]) -> Body:
    """A request's body; raises ProtocolError as vLLM refuses it."""
    if content_type != "application/json":
        raise _refusal(["Unsupported Media Type: Only 'application/json' is allowed"], None)
    if not raw:
        raise _invalid([{"type": "missing", "loc": (), "msg": "Field required", "input": None}])
    try:
        return body.model_validate(json.loads(raw), from_attributes=True)
    except json.JSONDecodeError as error:
        raise _malformed(error.pos, error.msg) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise _malformed(0, str(error)) from error
    except ValidationError as error:
        raise _invalid(error.errors(include_url=False)) from error


def chat_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """The messages one after the other with their roles, as a chat template writes them."""
    if not messages:
        raise ProtocolError(
            "Cannot apply chat template to an empty conversation. Provide at least one message."
        )
    return "".join(f"<|{message.get('role')}|>\n{_content(message)}\n" for message in messages)


def _content(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content)


def _malformed(position: int, message: str) -> ProtocolError:
    problem = {"type": "json_invalid", "loc": (position,), "msg": "JSON decode error", "input": {}}
    return _invalid([{**problem, "ctx": {"error": message}}])


def _invalid(problems: Sequence[Mapping[str, Any]]) -> ProtocolError:
    described = [
        {**problem, "loc": _place(problem["loc"]), "input": _summary(problem["input"])}
        for problem in problems
    ]
    return _refusal([str(problem) for problem in described], described[0]["loc"])


def _refusal(problems: Sequence[str], param: str | None) -> ProtocolError:
    label = "error" if len(problems) == 1 else "errors"
    lines = [f"{len(problems)} validation {label}:", *(f"  {problem}" for problem in problems)]
    return ProtocolError("\n".join(lines), 400, "Bad Request", param)


def _place(location: Sequence[str | int]) -> str:
    """A field's path in the body, without the branches of unions (types and classes) that pydantic tried."""
    types = ("str", "int", "float", "bool")
    named = (part for part in map(str, location) if part not in types and not _BRANCH.search(part))
    return ".".join(("body", *named))


def _summary(value: object) -> str:
    if isinstance(value, list | dict):
        return f"<{type(value).__name__} of {len(value)} items>"
    text = str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}...[truncated]"
