"""What became of one request."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

OK = "ok"
CONNECT_ERROR = "connect_error"
RESET = "reset"
TIMEOUT = "timeout"
CUT = "cut"
STREAM_ERROR = "stream_error"
BAD_ANSWER = "bad_answer"


@dataclass(slots=True)
class Record:
    """One request; `time` is Unix time of its start, durations are seconds from its start.

    `model` is what was asked for. `outcome` is `ok`, `http_<status>`, `connect_error`, `reset` (before an
    answer began), `timeout`, `cut` (an answer that stopped in the middle), `stream_error` (an error event in
    a stream) or `bad_answer`. `late` is how long after its due time the generator sent it, `lag` the
    generator's worst own delay while it ran: neither is in the latencies, both say how far to trust them.
    """

    time: float
    outcome: str = OK
    status: int = 0
    detail: str = ""
    pod: str = ""
    pool: str = ""
    model: str = ""
    ttft: float | None = None
    e2e: float = 0.0
    inter_token: float | None = None
    prompt_tokens: int = 0
    answer_tokens: int = 0
    late: float = 0.0
    lag: float = 0.0

    def line(self) -> str:
        """One line of JSON, times to the microsecond."""
        values = {key: round(v, 6) if isinstance(v, float) else v for key, v in asdict(self).items()}
        return json.dumps(values, separators=(",", ":"))

    @classmethod
    def from_line(cls, line: str) -> Record:
        """The record on a line; ValueError when it is not one."""
        values: Any = json.loads(line)
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"not a request record: {line[:80]!r}") from error
