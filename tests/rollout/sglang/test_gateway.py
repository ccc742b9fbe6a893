"""Several servers' answers as one. The layout is that of smg 1.13.0, as a live gateway gave it."""

from typing import Any

import pytest

from ovrl.errors import OvrlError
from ovrl.rollout.sglang.failures import DistrustedError, LostError, RejectedError, ServerError
from ovrl.rollout.sglang.gateway import joined, route


def answer(*results: tuple[int | None, Any]) -> dict[str, Any]:
    return {
        "results": {
            f"worker-{i}": {"worker_id": f"worker-{i}", "url": f"http://w{i}", "status": status, "body": body}
            for i, (status, body) in enumerate(results)
        },
        "failed": [],
        "total": len(results),
        "succeeded": len(results),
    }


def test_calls_go_to_all_sglang_servers():
    assert route("/ready") == "/v1/rl/engine/ready?selector=engine%3Dsglang"
    assert route("/v1/loads?include=core") == "/v1/rl/engine/v1/loads?include=core&selector=engine%3Dsglang"


def test_loads_are_those_of_all():
    one, two = {"loads": [{"num_running_reqs": 1}]}, {"loads": [{"num_running_reqs": 2}]}
    assert joined("/v1/loads?include=core", answer((200, one), (200, two)))["loads"] == one["loads"] + two["loads"]


def test_servers_that_have_different_weights_have_none_that_anybody_was_given():
    same = joined("/model_info", answer((200, {"weight_version": "3"}), (200, {"weight_version": "3"})))
    assert same["weight_version"] == "3"
    other = joined("/model_info", answer((200, {"weight_version": "3"}), (200, {"weight_version": "default"})))
    assert other["weight_version"] not in ("3", "default")
    sums = answer((200, {"per_engine_checksum": "a"}), (200, {"per_engine_checksum": "b"}))
    with pytest.raises(DistrustedError, match="different weights"):
        joined("/weights_checker", sums)


def test_a_server_that_is_away_is_left_out_and_one_that_fails_is_not():
    assert joined("/pause_generation", answer((None, None), (200, {"status": "ok"}))) == {"status": "ok"}
    wrong: list[tuple[Any, type[OvrlError]]] = [
        (answer((200, {}), (400, {"success": False, "message": "no such file"})), RejectedError),
        (answer((200, {}), (500, "oh")), ServerError),
        (answer((None, None), (503, None)), LostError),
        (answer(), LostError),
        ("what?", DistrustedError),
    ]
    for each, kind in wrong:
        with pytest.raises(kind):
            joined("/update_weights_from_disk", each)
