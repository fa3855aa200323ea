"""Earlier names of variants and of parameters of ops. Commands accept them for one release, and stored lines may hold them."""

from __future__ import annotations

__all__ = ["PARAMS", "VARIANTS"]

# Parameters in stored lines of problems: the earlier name, the name of today.
PARAMS = {"chance": "rounding_seed"}

# Variants: the op and the earlier name, the name of today. A record under an earlier name counts as stale.
VARIANTS = {
    ("adamw", "numba_flat"): "numba_fused",
    ("embedding_backward", "cuda_first"): "cuda_owner_computes",
    ("residual_backward", "numba_flat"): "numba_fused",
    ("residual_layer_norm", "numba_rows"): "numba_fused_rows",
    ("residual_layer_norm_backward", "numba_rows"): "numba_fused_rows",
}
