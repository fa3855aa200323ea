"""The builds of a CUDA variant: its source is compiled once for each dtype and each set of compiler options of its kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.cuda import kernels_of

if TYPE_CHECKING:
    from registry.variant import Variant

__all__ = ["builds_of"]


def builds_of(variant: Variant, *dtypes: str) -> list[tuple[str, ...]]:
    """Return the sets of compiler options of a variant's own kernels, for the given dtypes or for all its dtypes."""
    return sorted({kernel.options_for(dtype) for dtype in dtypes or variant.dtypes for kernel in kernels_of(variant)})
