"""What a vLLM server is told on its command line, parsed like vLLM's own arguments."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class OptionsError(Exception):
    """The command line makes no sense; the real server would exit with status 2."""


class StartError(Exception):
    """Options that do not go together; the real server would exit with status 1."""


@dataclass(frozen=True)
class Options:
    """A model server's settings. `lora_modules` are pairs of name and path.

    Adapters in the folder `resolver` (none if empty) are loaded when they are first asked for. With
    `api_keys`, clients need one of them. `max_queued` bounds unfinished requests (None: nothing does).
    `shutdown_timeout`: seconds after SIGTERM in which running requests are finished.
    """

    model: str = "facebook/opt-125m"
    served_names: tuple[str, ...] = ()
    port: int = 8000
    max_num_seqs: int = 256
    max_model_len: int | None = None
    enable_lora: bool = False
    lora_modules: tuple[tuple[str, str], ...] = ()
    max_lora_rank: int = 16
    runtime_lora: bool = False
    resolver: str = ""
    api_keys: tuple[str, ...] = ()
    max_queued: int | None = None
    shutdown_timeout: float = 0.0
    api_servers: int = 1

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the base model; answers and metrics carry the first."""
        return self.served_names or (self.model,)


def parse_options(argv: Sequence[str], environment: Mapping[str, str] | None = None) -> Options:
    """Options from a container's arguments and environment; arguments unknown here are ignored.

    The model may follow `serve`, or `--model` as older manifests have it; flags may have underscores. Raises
    OptionsError or StartError as the real server would refuse them.
    """
    arguments = [_dashed(each) for each in argv]
    if "serve" in arguments:
        arguments = arguments[arguments.index("serve") + 1 :]
    known, _ = _parser().parse_known_args(arguments)
    if known.max_num_seqs < 1:
        raise OptionsError("--max-num-seqs must be at least 1")
    variables = environment or {}
    runtime_lora = variables.get("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "").lower() in ("1", "true")
    if runtime_lora and known.api_server_count > 1:
        raise StartError("VLLM_ALLOW_RUNTIME_LORA_UPDATING cannot be used with api_server_count > 1")
    resolves = runtime_lora and "lora_filesystem_resolver" in variables.get("VLLM_PLUGINS", "").split(",")
    return Options(
        model=known.model or known.model_tag or Options.model,
        served_names=tuple(known.served_model_name),
        port=known.port,
        max_num_seqs=known.max_num_seqs,
        max_model_len=known.max_model_len,
        enable_lora=known.enable_lora,
        lora_modules=tuple(_module(text) for text in known.lora_modules),
        max_lora_rank=known.max_lora_rank,
        runtime_lora=runtime_lora,
        resolver=variables.get("VLLM_LORA_RESOLVER_CACHE_DIR", "") if resolves else "",
        api_keys=tuple(known.api_key),
        max_queued=known.max_num_queued_reqs,
        shutdown_timeout=known.shutdown_timeout,
        api_servers=known.api_server_count,
    )


def _dashed(argument: str) -> str:
    if not argument.startswith("--"):
        return argument
    flag, equals, value = argument.partition("=")
    return flag.replace("_", "-") + equals + value


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise OptionsError(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="vllm", add_help=False, allow_abbrev=False)
    parser.add_argument("model_tag", nargs="?")
    parser.add_argument("--model")
    parser.add_argument("--served-model-name", nargs="+", default=[])
    parser.add_argument("--port", type=int, default=Options.port)
    parser.add_argument("--max-num-seqs", type=int, default=Options.max_num_seqs)
    parser.add_argument("--max-model-len", type=int)
    parser.add_argument("--enable-lora", action="store_true")
    parser.add_argument("--lora-modules", nargs="+", default=[])
    parser.add_argument("--max-lora-rank", type=int, default=Options.max_lora_rank)
    parser.add_argument("--api-key", nargs="+", default=[])
    parser.add_argument("--max-num-queued-reqs", type=int)
    parser.add_argument("--shutdown-timeout", type=float, default=Options.shutdown_timeout)
    parser.add_argument("--api-server-count", type=int, default=Options.api_servers)
    return parser


def _module(text: str) -> tuple[str, str]:
    name, separator, path = text.partition("=")
    if not (name and separator and path):
        raise OptionsError(f"--lora-modules wants name=path, not {text!r}")
    return name, path
