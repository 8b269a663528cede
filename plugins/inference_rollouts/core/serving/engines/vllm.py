"""What is vLLM's: flags of its servers, endpoints, switches, gauges, and the modules it puts adapters on."""

from __future__ import annotations

import io
import json
import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.objects.k8s import K8sObject

COMPLETIONS, CHAT_COMPLETIONS, MODELS = "/v1/completions", "/v1/chat/completions", "/v1/models"
VERSION = "/version"
LOAD_ADAPTER, UNLOAD_ADAPTER = "/v1/load_lora_adapter", "/v1/unload_lora_adapter"
RUNTIME_ADAPTERS = "VLLM_ALLOW_RUNTIME_LORA_UPDATING"
"""The environment variable without which the two endpoints for adapters do not exist."""

LOAD_GAUGES = ("vllm:num_requests_running", "vllm:num_requests_waiting")
"""Requests inside a server are the sum of these."""

DEFAULT_MAX_LORA_RANK = 16
# The linear layers of the usual transformers that vLLM puts adapters on.
TARGET_MODULES = (
    "q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj",
    "gate_proj", "up_proj", "down_proj", "gate_up_proj",
    "embed_tokens", "lm_head",
)  # fmt: skip

# Also within one argument, as a shell gets its command: over the ends of lines, and with quotes.
_BETWEEN = r"""[=\s\\"']+"""
_MAX_NUM_SEQS = re.compile(rf"--max[-_]num[-_]seqs{_BETWEEN}(\d+)")
_MAX_LORA_RANK = re.compile(rf"--max[-_]lora[-_]rank{_BETWEEN}(\d+)")


def flag_values(arguments: Iterable[str], flag: str) -> list[str]:
    """What follows a flag in arguments, spelled `--a-b c d`, `--a_b c` or `--a-b=c`."""
    return [value for name, value in _pairs(arguments) if name == flag]


def max_num_seqs(arguments: Iterable[str]) -> int | None:
    """How many requests a server runs at once, by its arguments (the last counts); None: unknown."""
    limits = _MAX_NUM_SEQS.findall(" ".join(arguments))
    return int(limits[-1]) if limits else None


def max_lora_rank(arguments: Iterable[str]) -> int:
    """The largest rank of adapters that a server takes, by its arguments (the last counts)."""
    ranks = _MAX_LORA_RANK.findall(" ".join(arguments))
    return int(ranks[-1]) if ranks else DEFAULT_MAX_LORA_RANK


def adapter_arguments(modules: Sequence[tuple[str, str]]) -> list[str]:
    """The arguments by which a server loads adapters (name, path) when it starts."""
    return ["--lora-modules", *(f"{name}={path}" for name, path in modules)]


def runtime_adapters_env() -> list[dict[str, Any]]:
    """The environment by which a server loads adapters while it runs."""
    return [{"name": RUNTIME_ADAPTERS, "value": "true"}]


def arguments_of(pod: K8sObject) -> list[str]:
    """Command and arguments of all containers of a pod."""
    containers = pod["spec"].get("containers") or ()
    return [part for each in containers for key in ("command", "args") for part in each.get(key) or ()]


Options = Mapping[str, tuple[str, ...]]
"""A server's command line as parsed: the values of each flag, those without a flag under the empty name."""

NAMES_FLAG = "--served-model-name"
MODEL_FLAG = "--model"  # deprecated: `vllm serve` takes the model without a flag
_SHORT = {
    "-tp": "--tensor-parallel-size",
    "-pp": "--pipeline-parallel-size",
    "-dp": "--data-parallel-size",
    "-dcp": "--decode-context-parallel-size",
    "-pcp": "--prefill-context-parallel-size",
    "-dpn": "--data-parallel-rank",
    "-dpr": "--data-parallel-start-rank",
    "-dpl": "--data-parallel-size-local",
    "-dpa": "--data-parallel-address",
    "-dpp": "--data-parallel-rpc-port",
    "-dpb": "--data-parallel-backend",
    "-dph": "--data-parallel-hybrid-lb",
    "-dpe": "--data-parallel-external-lb",
    "-ep": "--enable-expert-parallel",
    "-n": "--nnodes",
    "-r": "--node-rank",
    "-q": "--quantization",
}
_SHUTDOWN_FLAGS = ("--shutdown-timeout", "--timeout-graceful-shutdown", "--exit-timeout-secs")
_SECONDS = re.compile(r"\d{1,6}(\.\d+)?")
_CERTIFICATES = ("sslcertfile", "sslcert", "certfile")
_SHELLS = ("sh", "bash", "dash", "ash", "zsh")
# After a shell's options, of which one that ends in o has a value: its script, in words between zeros.
_SCRIPT = re.compile(r"(?:-[a-z]*o\0[a-z]+\0|--?[a-z-]*\0)*?-[a-z]*c\0(?:-[a-z-]*\0)*([^\0]*)")
_OF_STREAM = re.compile(r"(?<=\s)\d(?=[<>])")  # in `2>&1`
_ENDS_COMMAND = ";&|()<>\n"
_NEGATIVE = re.compile(r"-\d")  # a number, no flag


def starts_server(container: K8sObject) -> bool:
    """Whether a container says that it starts a server, itself or in a shell script."""
    return _server_words(_words(container)) is not None


def server_options(container: K8sObject) -> Options:
    """The options with which a container starts a server, also where a shell starts it."""
    script = _script(container)
    if script is None:
        words = _words(container)
        return options(words if (after := _server_words(words)) is None else after)
    for command in _commands(script):
        if (after := _server_words(command)) is not None:
            return options(after)
    return {}


def shutdown_timeout(container: K8sObject) -> int | None:
    """For how many seconds a server finishes running answers when it is to end; None where it does not say.

    Others than vLLM have the same under other names.
    """
    given = server_options(container)
    values = [given[flag][-1] for flag in _SHUTDOWN_FLAGS if given.get(flag)]
    return next((int(float(each)) for each in values if _SECONDS.fullmatch(each)), None)


def has_certificate(container: K8sObject) -> bool:
    """Whether a server is given a certificate, so that it speaks HTTPS: also others' than vLLM's."""
    given = server_options(container)
    return any(flag.replace("-", "") in _CERTIFICATES and values for flag, values in given.items())


def _words(container: K8sObject) -> list[str]:
    """Command and arguments of a container; of a shell those of all commands that it is given to run."""
    script = _script(container)
    return _given(container) if script is None else [word for each in _commands(script) for word in each]


def _given(container: K8sObject) -> list[str]:
    return [str(each) for key in ("command", "args") for each in container.get(key) or ()]


def _server_words(words: Sequence[str]) -> Sequence[str] | None:
    """What follows the name of a server; None where no word is one."""
    places = (place for place, word in enumerate(words) if word == "serve" or word.endswith("api_server"))
    place = next(places, None)
    return None if place is None else words[place + 1 :]


def _script(container: K8sObject) -> str | None:
    """What a shell is given to run, also where another program starts the shell; None where none is.

    One that runs the arguments after it has no server of its own.
    """
    words = _given(container)
    for place, word in enumerate(words):
        if word.rpartition("/")[2] in _SHELLS:
            found = _SCRIPT.match("\0".join(words[place + 1 :]))
            return None if found is None or "$@" in found[1] else found[1]
    return None


class _Lines:
    """A script as a lexer reads it: a comment ends before the end of its line, which ends a command too."""

    def __init__(self, script: str) -> None:
        self._script = io.StringIO(script)

    def read(self, size: int, /) -> str:
        return self._script.read(size)

    def readline(self) -> str:
        if (line := self._script.readline()).endswith("\n"):
            self._script.seek(self._script.tell() - 1)
        return line

    def close(self) -> None:
        self._script.close()


def _commands(script: str) -> list[list[str]]:
    """The words of each command of a shell script.

    One that cannot be read as such, like a document within it, is read line by line, with quotes as they are.
    """
    joined = _OF_STREAM.sub("", script.replace("\\\n", " "))
    lexer = shlex.shlex(_Lines(joined), posix=True, punctuation_chars=_ENDS_COMMAND)
    lexer.whitespace, lexer.whitespace_split = " \t\r", True
    commands: list[list[str]] = [[]]
    try:
        for word in lexer:
            if word and not word.strip(_ENDS_COMMAND):
                commands.append([])
            else:
                commands[-1].append(word)
    except ValueError:
        return [re.split(f"[{_ENDS_COMMAND}]", line)[0].split() for line in joined.splitlines()]
    return commands


def options(arguments: Iterable[str]) -> Options:
    """Arguments as parsed: two spellings of one command are equal. Of a flag given twice the last counts."""
    found: dict[str, list[str]] = {}
    for flag, value in _tokens(arguments):
        if value is None:
            found[flag] = []
        else:
            found.setdefault(flag, []).append(_canonical(value))
    if model := found.pop(MODEL_FLAG, None):
        found[""] = model
    return {flag: tuple(values) for flag, values in found.items()}


def spelled(wanted: Options) -> list[str]:
    """Options as arguments; the model first."""
    words = list(wanted.get("", ()))
    for flag, values in wanted.items():
        if flag and len(values) == 1:
            words.append(f"{flag}={values[0]}")
        elif flag:
            words += [flag, *values]
    return words


def with_options(container: K8sObject, wanted: Options) -> dict[str, list[str]]:
    """The command line of a container with other options: what changes of `command` and `args`.

    Raises PlanInvalid where a shell starts the server: a script is not ours to rewrite.
    """
    if not wanted:
        return {}
    command, args = (list(map(str, container.get(key) or ())) for key in ("command", "args"))
    if _script(container) is not None:
        raise PlanInvalid(
            f"The plan is invalid: container {container.get('name')} starts its server in a shell script, "
            "where arguments cannot be changed; start the server itself, or use templates."
        )
    model, flags = wanted.get(""), {flag: values for flag, values in wanted.items() if flag}
    sides = {"command": command, "args": args}
    for key, words in sides.items():
        sides[key] = list(_without(words, flags, model if key == "args" or not args else None))
    placed = model is None or any(model[0] in words for words in sides.values())
    last = "args" if args or not command else "command"
    sides[last] += spelled(flags if placed else {"": model or (), **flags})
    return {key: words for key, words in sides.items() if words}


def _without(words: Sequence[str], flags: Collection[str], model: tuple[str, ...] | None) -> Iterator[str]:
    """Words without these flags and their values, and with another model."""
    flag, begun = "", not any(word == "serve" for word in words)
    for word in words:
        if word.startswith("-") and not _NEGATIVE.match(word):
            name, equals, _ = word.partition("=")
            flag = _SHORT.get(name, name.replace("_", "-"))
            if flag in flags:
                continue
            yield f"{name}={model[0]}" if model and equals and flag == MODEL_FLAG else word
        elif model and begun and flag in ("", MODEL_FLAG):
            yield model[0]
        elif flag not in flags:
            yield word
        begun = begun or word == "serve"


def _tokens(arguments: Iterable[str]) -> Iterator[tuple[str, str | None]]:
    """Each flag (its value None), and each value with the flag before it."""
    flag = ""
    for argument in arguments:
        if argument.startswith("-") and not _NEGATIVE.match(argument):
            name, equals, value = argument.partition("=")
            flag = _SHORT.get(name, name.replace("_", "-"))
            yield flag, None
            if equals:
                yield flag, value
        else:
            yield flag, argument


def _canonical(value: str) -> str:
    """JSON without what means nothing."""
    if not value.startswith(("{", "[")):
        return value
    try:
        return json.dumps(json.loads(value), sort_keys=True, separators=(",", ":"))
    except ValueError:
        return value


def _pairs(arguments: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Every value in a command line with the flag before it."""
    return ((flag, value) for flag, value in _tokens(arguments) if value is not None)
