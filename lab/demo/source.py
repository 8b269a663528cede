"""Where the two arms of a rollout can be seen: two pools behind a route, or two adapters of one pool."""

from dataclasses import dataclass

from lab.kube.objects import path_of

WINDOW = "5s"
ALIAS = "food-review"


@dataclass(frozen=True, slots=True)
class Source:
    """The object whose weights move (its API path), and queries by arm: requests/s, failed ones, seconds.

    `pool` is whose pods serve both arms; None where each arm is a pool.
    """

    target: str
    rate: str
    errors: str
    ttft_p95: str
    pool: str | None = None


def _rate(metric: str, matchers: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}{{{matchers}}}[{WINDOW}]))"


# Requests that went through the gateway, so that warm-up is not among them.
POOLS = Source(
    target=path_of("HTTPRoute", "default", "routes-to-llm"),
    rate=_rate("envoy_cluster_upstream_rq_total", "", "envoy_cluster_name"),
    errors=_rate("envoy_cluster_upstream_rq_xx", 'envoy_response_code_class="5"', "envoy_cluster_name"),
    ttft_p95="histogram_quantile(0.95, "
    f"{_rate('vllm:time_to_first_token_seconds_bucket', '', 'inference_pool, le')})",
)

_ASKED, _ARM = f'model_name="{ALIAS}"', "target_model_name"
ADAPTERS = Source(
    target=path_of("InferenceModelRewrite", "default", ALIAS),
    rate=_rate("llm_d_epp_request_total", _ASKED, _ARM),
    errors=_rate("llm_d_epp_request_error_total", _ASKED, _ARM),
    ttft_p95="histogram_quantile(0.95, "
    f"{_rate('llm_d_epp_request_ttft_seconds_bucket', _ASKED, f'{_ARM}, le')})",
    pool="llm-pool",
)
