"""What the demo reads of Prometheus."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from lab.demo.observe import counted_pools
from tests.support.http_server import serving


def test_a_pool_counts_once_prometheus_has_counted_an_answer_of_it() -> None:
    counts = {"llm-pool": "12", "code-pool": "0", "search-pool": "NaN"}
    result = [{"metric": {"inference_pool": pool}, "value": [0, value]} for pool, value in counts.items()]

    def answer(*_: Any) -> tuple[int, str, bytes]:
        return 200, "application/json", json.dumps({"data": {"result": result}}).encode()

    with serving(answer) as url:
        assert asyncio.run(counted_pools(url)) == {"llm-pool"}


def test_nothing_counts_where_prometheus_does_not_answer() -> None:
    def starting(*_: Any) -> tuple[int, str, bytes]:
        return 503, "text/plain", b"Service Unavailable"

    with serving(starting) as url:
        assert asyncio.run(counted_pools(url)) == set()
    assert asyncio.run(counted_pools(url)) == set(), "nobody is there any more"
