"""Pages of metrics, and how a simulated one differs from a real one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

# What real servers export and the simulation does not: of the process, the accelerator, steps of the engine,
# kinds of caches and of prompts that the lab has not, and sizes and times of HTTP exchanges.
NOT_SIMULATED = re.compile(
    r"python_|process_(?!start_time)|http_(?!requests)|vllm:(?:estimated_|engine_sleep_state|external_"
    r"|mm_cache|prompt_tokens_by_source|prompt_tokens_cached_by_source|iteration_tokens|lora_requests_info"
    r"|cache_config_info|request_max_num_generation|request_params_|request_num_preemptions"
    r"|request_prefill_kv)"
)
_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(\{.*\})? (\S+)$", re.M)
_TYPE = re.compile(r"^# TYPE (\S+) (\S+)$", re.M)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of metrics: types by family, values by series."""

    types: Mapping[str, str]
    series: Mapping[str, float] = field(repr=False)

    @classmethod
    def read(cls, text: str) -> Page:
        """A page in the text format."""
        series = {name + labels: float(value) for name, labels, value in _SAMPLE.findall(text)}
        return cls(dict(_TYPE.findall(text)), series)

    def value(self, name: str, **labels: str) -> float:
        """The sum of the series of that name that have these labels; 0 when there are none."""
        return sum(
            value
            for series, value in self.series.items()
            if series.partition("{")[0] == name and all(f'{k}="{v}"' in series for k, v in labels.items())
        )


def differences(real: Page, simulated: Page, compared: Iterable[str] = ()) -> Iterator[str]:
    """Families and series that only one of both has; of series that begin with one of `compared`, values."""
    types = {name: kind for name, kind in real.types.items() if not NOT_SIMULATED.match(name)}
    yield from _apart("family", types.keys(), simulated.types.keys())
    shared = types.keys() & simulated.types.keys()
    yield from (f"type of {name}" for name in sorted(shared) if types[name] != simulated.types[name])
    wanted = {series for series in real.series if not NOT_SIMULATED.match(series)}
    yield from _apart("series", wanted, simulated.series.keys())
    for series in sorted(wanted & simulated.series.keys()):
        one, other = real.series[series], simulated.series[series]
        if one != other and series.startswith(tuple(compared)):
            yield f"{series}: {one:g} is {other:g}"


def _apart(what: str, real: Iterable[str], simulated: Iterable[str]) -> Iterator[str]:
    yield from (f"{what} {name}: missing" for name in sorted(set(real) - set(simulated)))
    yield from (f"{what} {name}: not in a real one" for name in sorted(set(simulated) - set(real)))
