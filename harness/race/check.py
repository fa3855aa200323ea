"""Whether the answer of a timed call was right: compared after the race with torch's answer to the same values."""

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

# The proof measured the error element by element; here the values only have to be those of this call, to within a few
# times what the error law grants to the largest element.
SLACK = 8.0
LEAST_ULPS = 16.0


def _allowed(op: Op, dims: Mapping[str, int], reference: NDArray[Any], answer: NDArray[Any]) -> NDArray[np.float64]:
    """Return the allowed error of each element.

    In bfloat16 it is a unit in the last place more, as both are rounded; of gradients a unit of the largest one, since torch
    computes again what a kernel may read as the forward pass has rounded it.
    """
    if isinstance(op.error, Exact):
        return np.zeros(reference.shape)
    largest = float(np.max(np.abs(reference), initial=0.0))
    computed = SLACK * max(op.error.gamma(dims), LEAST_ULPS) * float(np.finfo(np.float32).eps) * largest
    stored = BFLOAT16_EPS if is_bfloat16(answer) else 0.0
    if op.direction is Direction.BACKWARD:
        computed += stored * largest
    allowed: NDArray[np.float64] = computed + stored * np.abs(reference)
    return allowed


def disagreement(op: Op, dims: Mapping[str, int], folder: Path, name: str) -> str:
    """Return how the answer that `name` wrote differs from the reference in the same folder; "" if it does not."""
    for output in op.outputs:
        answer = load_array(folder / f"{name}.{output}.npy")
        reference = load_array(folder / f"reference.{output}.npy")
        if answer.shape != reference.shape:
            return f"a timed call's {output} has {answer.size} elements, torch's {reference.size}"
        if not answer.size:
            continue
        allowed = _allowed(op, dims, reference, answer)
        error = np.abs(answer.astype(np.float64) - reference.astype(answer.dtype).astype(np.float64))
        right = error <= allowed
        if not right.all():
            at = int(np.argmin(right))
            return (
                f"a timed call's {output} is wrong in {np.count_nonzero(~right)} of {answer.size} elements looked at: "
                f"{float(answer[at]):g} where torch has {reference[at]:g}, allowed error {allowed[at]:.2g}"
            )
    return ""
