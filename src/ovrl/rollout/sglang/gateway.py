"""A gateway (`smg launch --enable-rl`) in front of servers, taken for one server that is made of several.

Requests go through it untouched. What controls a server goes to all of them by `/v1/rl/engine/...`, and here their
answers become one. sglang-router has no such routes, and drops fields of requests: it is not taken.
"""

from collections.abc import Sequence
from typing import Any

from ovrl.rollout.sglang.client import Client
from ovrl.rollout.sglang.failures import DistrustedError, LostError, RejectedError, ServerError

_SELECTOR = "selector=engine%3Dsglang"


async def is_gateway(client: Client, *, limit_s: float) -> bool:
    """Whether the URL is that of smg with its routes for reinforcement learning."""
    try:
        answer = await client.get("/v1/rl/workers", limit_s=limit_s)
    except RejectedError:
        return False
    return isinstance(answer, dict) and "workers" in answer


def route(path: str) -> str:
    """Return the path under which a gateway passes a call on to all of its servers."""
    return f"/v1/rl/engine{path}{'&' if '?' in path else '?'}{_SELECTOR}"


def joined(path: str, answer: Any) -> Any:
    """Return what one server would have answered.

    Servers that could not be reached are left out, as the gateway itself leaves them out: one that comes back with
    other weights is found by their name.

    Raises:
        RejectedError, ServerError: a server answered with an error.
        LostError: none could be reached.
        DistrustedError: the answer makes no sense.
    """
    if not isinstance(answer, dict) or not isinstance(answer.get("results"), dict):
        raise DistrustedError(f"the gateway's answer to {path} makes no sense: {str(answer)[:100]}")
    bodies: list[Any] = []
    for result in answer["results"].values():
        status = result.get("status")
        if status is None or status in (502, 503, 504):
            continue
        if status >= 400:
            reason = f"{path} at {result.get('url')} answered {status}: {str(result.get('body'))[:200]}"
            raise RejectedError(reason, status) if status < 500 else ServerError(reason, f"http_{status}")
        bodies.append(result.get("body"))
    if not bodies:
        raise LostError(f"the gateway reaches none of its servers for {path}")
    return _merged(path, bodies)


def _merged(path: str, bodies: Sequence[Any]) -> Any:
    first = bodies[0]
    if path.startswith("/v1/loads"):
        return {"loads": [rank for body in bodies for rank in body["loads"]]}
    if path == "/model_info":  # several names are none that anybody was given
        return first | {"weight_version": " and ".join(sorted({str(body.get("weight_version")) for body in bodies}))}
    if path == "/weights_checker":
        sums = sorted({str(body.get("per_engine_checksum") or body.get("ranks")) for body in bodies})
        if len(sums) > 1:
            raise DistrustedError("the gateway's servers have different weights under the same name")
    return first
