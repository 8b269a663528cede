import pytest

from inference_rollouts.core.judging.metrics import Arm, load_query, parse_metric_set
from inference_rollouts.core.objects.readiness import Phase
from inference_rollouts.core.serving.capacity import (
    Capacity,
    Pool,
    raise_readiness,
    room,
    rooms,
)
from inference_rollouts.core.serving.engines import vllm

UNKNOWN = None


def pod(*args, command=()):
    return {"spec": {"containers": [{"command": list(command), "args": list(args)}]}}


@pytest.mark.parametrize(
    ("arguments", "seats"),
    [
        (["--max-num-seqs=64"], 64),
        (["--max-num-seqs", "64"], 64),
        (["--max_num_seqs=64"], 64),
        (["sh", "-c", "vllm serve m --max-num-seqs 64 --port 8000"], 64),
        (["--max-num-seqs=64", "--max-num-seqs=128"], 128),
        (["--max-num-batched-tokens=8192"], None),
        ([], None),
    ],
)
def test_what_a_server_runs_at_once_is_read_from_its_arguments(arguments, seats):
    assert vllm.max_num_seqs(arguments) == seats


@pytest.mark.parametrize(
    ("pods", "declared", "per_pod"),
    [
        ([pod("--max-num-seqs=64"), pod("--max-num-seqs=128")], None, 96),
        ([pod(command=["vllm", "serve", "--max-num-seqs", "32"])], None, 32),
        ([pod("--max-num-seqs=64"), pod()], None, None),
        ([pod("--max-num-seqs=64")], 10, 10),
        ([], None, None),
    ],
)
def test_what_the_plan_does_not_say_the_pods_do(pods, declared, per_pod):
    assert Pool.of("p", pods, declared) == Pool("p", len(pods), per_pod)


@pytest.mark.parametrize(
    ("pods", "per_pod", "percent", "load", "needed"),
    [
        (3, 64, 50, 180, 2),
        (3, 64, 100, 180, 4),
        (3, 64, 100, 153.6, 3),
        (3, 64, 1, 0.5, 1),
        (0, 64, 50, 180, 1),
        # Counted in pods: 3 carried all.
        (3, 64, 50, UNKNOWN, 2),
        (3, 64, 100, UNKNOWN, 3),
        (3, 64, 5, UNKNOWN, 1),
        (3, 64, 100, 0, 3),
        (3, UNKNOWN, 34, 10_000, 2),
    ],
)
def test_how_many_pods_a_share_needs(pods, per_pod, percent, load, needed):
    found = room(Pool("new", pods, per_pod), percent, load, 0.8, 3)
    assert found.needed == needed
    assert found.enough is (pods >= needed)


@pytest.mark.parametrize(
    ("pods", "per_pod", "percent", "load", "said"),
    [
        (3, 64, 50, 180, "new has 3 ready pods for 50 % of 180 requests in flight: 30 each, 51 allowed"),
        (1, 64, 50, 180, "new has 1 ready pod for 50 % of 180 requests in flight: 90 each, 51 allowed"),
        (0, 64, 50, 180, "new has no ready pods"),
        (
            1,
            64,
            100,
            UNKNOWN,
            "1 ready pod, 3 needed for 100 % of the requests (counted in pods: the requests",
        ),
        (1, 64, 100, 0, "no request is in flight"),
        (1, UNKNOWN, 100, 9, "nothing says how many requests one runs at once"),
    ],
)
def test_the_sentence_has_the_figures(pods, per_pod, percent, load, said):
    assert said in room(Pool("new", pods, per_pod), percent, load, 0.8, 3).message


def test_stable_may_be_used_in_full_and_the_canary_may_not():
    stable, canary = rooms(Capacity(), Pool("old", 3, 64), Pool("new", 3, 64), 100, 190, 3)
    assert (stable.enough, canary.enough) == (True, False)


def test_pods_that_run_more_at_once_may_be_fewer_when_pods_are_counted():
    _, canary = rooms(Capacity(), Pool("old", 4, 64), Pool("new", 2, 128), 100, UNKNOWN, 4)
    assert canary.enough
    _, canary = rooms(Capacity(), Pool("old", 4, UNKNOWN), Pool("new", 2, 128), 100, UNKNOWN, 4)
    assert not canary.enough, "one pod is worth another, as far as anybody knows"


def test_measured_load_says_that_fewer_pods_suffice():
    stable, _ = rooms(Capacity(), Pool("old", 1, 64), Pool("new", 3, 64), 50, 40, 3)
    assert stable.enough
    stable, _ = rooms(Capacity(), Pool("old", 1, 64), Pool("new", 3, 64), 50, UNKNOWN, 3)
    assert not stable.enough


def test_what_is_lacking_is_said_alone():
    found = rooms(Capacity(), Pool("old", 1, 64), Pool("new", 3, 64), 50, 180, 3)
    seen = raise_readiness(found)
    assert seen.phase is Phase.WAITING
    assert seen.message.startswith("old has 1 ready pod")
    assert "new" not in seen.message
    assert (
        "new"
        in raise_readiness(rooms(Capacity(), *(Pool(n, 3, 64) for n in ("old", "new")), 5, 9, 3)).message
    )


def test_declared_for_both_pools_unless_stable_has_its_own():
    assert Capacity(per_pod=50).declared_stable == 50
    assert Capacity(per_pod=50, stable_per_pod=20).declared_stable == 20
    assert Capacity().declared_stable is None


def test_the_gauges_are_asked_for_both_pools_in_one_query():
    metric_set = parse_metric_set(
        {
            "name": "x",
            "errors": "e",
            "load": ["running", 'waiting{engine="0"}'],
            "metrics": [{"name": "e", "kind": "rate", "total": "t", "bad": "b"}],
        }
    )
    asked = load_query(metric_set, Arm("inference_pool", "new", "ns"), Arm("inference_pool", "old", "ns"), 60)
    assert asked == (
        'label_replace(sum by (inference_pool,pod) (avg_over_time(running{inference_pool=~"new|old",'
        'namespace="ns"}[60s])), "series", "0", "", "")\n'
        'or label_replace(sum by (inference_pool,pod) (avg_over_time(waiting{engine="0",'
        'inference_pool=~"new|old",namespace="ns"}[60s])), "series", "1", "", "")'
    )
