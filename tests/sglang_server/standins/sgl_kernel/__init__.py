"""Stands in for SGLang's compiled CPU kernels, which are on no package registry.

Without the matrix instructions that those kernels are for, SGLang computes with plain torch and calls but one of them.
The other names need only exist, because modules look them up when they are imported.
Names that SGLang asks for with `hasattr` (`convert_weight_packed`, for instance) must not exist: it would use them.
"""

from typing import Any

import torch

__version__ = "0"


def assign_req_to_token_pool_cpu(
    rows: torch.Tensor,
    table: torch.Tensor,
    starts: torch.Tensor,
    ends: torch.Tensor,
    places: torch.Tensor,
    width: int,
) -> None:
    """Write each request's new places in the cache, one request after the other, into its row of the table."""
    del width
    sizes = (ends - starts).tolist()
    for row, start, part in zip(rows.tolist(), starts.tolist(), places[: sum(sizes)].split(sizes), strict=True):
        table[row, start : start + len(part)] = part.to(table.dtype)


def _absent(name: str) -> Any:
    def kernel(*arguments: Any, **options: Any) -> Any:
        raise RuntimeError(f"{name} is a compiled kernel; this stand-in has none")

    return kernel


def __getattr__(name: str) -> Any:
    if name.startswith("__") or not name.endswith("_cpu"):
        raise AttributeError(name)
    return _absent(name)


# Looked up by modules that the Qwen-VL processor's module imports.
for _name in (
    "fused_dual_residual_rmsnorm_cpu",
    "fused_gdn_gating_cpu",
    "fused_moe_router_cpu",
    "fused_qk_gemma_rmsnorm_cpu",
    "fused_qk_gemma_rmsnorm_with_gate_cpu",
    "fused_qkvzba_split_reshape_cat_contiguous_cpu",
    "fused_sigmoid_gating_delta_rule_update_cpu",
    "fused_sigmoid_mul_cpu",
    "rmsnorm_cpu",
):
    setattr(torch.ops.sgl_kernel, _name, _absent(_name))
