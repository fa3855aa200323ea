"""The check of timed calls: after a race, their outputs are compared with torch's outputs for the same values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.proof.reference.tolerance import BFLOAT16_EPS
from harness.race.contestant_buffers import load_array
from registry.dtypes import is_bfloat16
from registry.error_law import Exact
from registry.op import Direction

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from registry.op import Op

__all__ = ["disagreement"]

# The proof checked each element against the error law. The race only checks that the outputs belong to this call, so it
# allows every element a few times the tolerance of the largest one.
SLACK = 8.0
LEAST_ULPS = 16.0


def _allowed(op: Op, dims: Mapping[str, int], reference: NDArray[Any], output: NDArray[Any]) -> NDArray[np.float64]:
    """Return the allowed error of each element.

    In bfloat16 one unit in the last place is added, since both sides are rounded. For gradients in bfloat16, one unit of the
    largest element is added too: torch recomputes saved values that a kernel may read as the forward pass rounded them.
    """
    if isinstance(op.error, Exact):
        return np.zeros(reference.shape)
    largest = float(np.max(np.abs(reference), initial=0.0))
    computed = SLACK * max(op.error.gamma(dims), LEAST_ULPS) * float(np.finfo(np.float32).eps) * largest
    stored = BFLOAT16_EPS if is_bfloat16(output) else 0.0
    if op.direction is Direction.BACKWARD:
        computed += stored * largest
    allowed: NDArray[np.float64] = computed + stored * np.abs(reference)
    return allowed


def disagreement(op: Op, dims: Mapping[str, int], folder: Path, name: str) -> str:
    """Return how the outputs saved as `name` differ from the reference outputs in the same folder; "" if they agree."""
    for argument in op.outputs:
        output = load_array(folder / f"{name}.{argument}.npy")
        reference = load_array(folder / f"reference.{argument}.npy")
        if output.shape != reference.shape:
            return f"a timed call's {argument} has {output.size} elements, torch's {reference.size}"
        if not output.size:
            continue
        allowed = _allowed(op, dims, reference, output)
        error = np.abs(output.astype(np.float64) - reference.astype(output.dtype).astype(np.float64))
        right = error <= allowed
        if not right.all():
            at = int(np.argmin(right))
            return (
                f"a timed call's {argument} is wrong in {np.count_nonzero(~right)} of {output.size} checked elements: "
                f"{float(output[at]):g} where torch has {reference[at]:g}, allowed error {allowed[at]:.2g}"
            )
    return ""
