"""What is compiled of a CUDA variant: its source, for each dtype that it takes and each set of its kernels' options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.cuda import kernels_of

if TYPE_CHECKING:
    from registry.variant import Variant

__all__ = ["builds_of"]


def builds_of(variant: Variant, *dtypes: str) -> list[tuple[str, ...]]:
    """Return the sets of compiler options that a variant's own kernels are built with, for all its dtypes or for these."""
    return sorted({kernel.options_for(dtype) for dtype in dtypes or variant.dtypes for kernel in kernels_of(variant)})
