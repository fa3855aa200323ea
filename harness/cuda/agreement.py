"""The agreement of a GPU and the simulator: both run a variant on the same problems, and the outputs are compared by bits.

Equal bits are not required: approximate instructions, the order of a tensor core's sums and `expf` differ. The comparison is a
report; only the battery accepts or rejects a variant. Unverified on hardware: no GPU has been compared yet.

Source of the distance: B. Dawson, Comparing Floating Point Numbers, 2012 Edition (floats read as ordered integers).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.proof.cases.strategies import basics
from harness.proof.cases.values import materialise
from harness.proof.sandbox.buffers import Buffers
from harness.proof.sandbox.client import DeviceSettings, Died, Raised
from harness.race.board import params_for, shrunken, typical_dims
from registry.dtypes import is_float
from registry.enums import Device
from registry.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from harness.proof.sandbox.client import Worker
    from registry.op import Op
    from registry.variant import Variant

    Arrays = Mapping[str, NDArray[Any]]

__all__ = ["Agreement", "agreement", "compared_problems", "ulp_distance"]

LARGER = 1e6  # floating-point operations, or bytes moved, of the largest compared problem
DEVICES = (Device.SIM, Device.CUDA)


@dataclass
class Agreement:
    """The agreement of a GPU and the simulator on one variant, over all problems that the variant takes.

    Attributes
    ----------
    elements, equal : int
        The number of output elements, and the number of those with equal bits.
    ulps : int
        The largest distance of two elements, in units in the last place.
    note : str
        The device and its error message if the variant failed on one of the two; else "".
    """

    op: str
    variant: str
    problems: int = 0
    elements: int = 0
    equal: int = 0
    ulps: int = 0
    note: str = ""

    @property
    def share(self) -> float:
        """Share of elements with equal bits."""
        return self.equal / self.elements if self.elements else 0.0

    def add(self, one: Arrays, other: Arrays) -> None:
        """Add the outputs of one problem to the counts."""
        self.problems += 1
        for name, values in one.items():
            distances = ulp_distance(values, other[name])
            self.elements += distances.size
            self.equal += int(np.count_nonzero(distances == 0))
            self.ulps = max(self.ulps, int(distances.max(initial=0)))


def _ordered(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return integers in the order of the floats: the integers of two neighbouring floats differ by one."""
    if not is_float(values.dtype):
        return values.astype(np.int64)
    width = 8 * values.dtype.itemsize
    with np.errstate(invalid="ignore"):
        quiet = np.where(np.isnan(values), values.dtype.type(np.nan), values)
    bits = quiet.view(f"int{width}").astype(np.int64)
    return np.where(bits < 0, -(1 << (width - 1)) - bits, bits)


def ulp_distance(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.int64]:
    """Return the distance of each pair in units in the last place; it is 0 between two NaNs, and between 0 and -0."""
    distances: NDArray[np.int64] = np.abs(_ordered(one) - _ordered(other))
    return distances


def compared_problems(op: Op, *variants: Variant) -> Iterator[Problem]:
    """Yield the battery's fixed problems without special values and a larger problem, for each dtype of the `variants`.

    Without variants, the problems have the op's first dtype.
    """
    dims = shrunken(op, typical_dims(op), LARGER)
    for dtype in [d for d in op.dtypes if any(d in v.dtypes for v in variants)] or op.dtypes[:1]:
        yield from (problem for problem in basics(op, (dtype,)) if not problem.special_values)
        yield Problem(op.name, dims, params_for(op, dims), dtype=dtype, seed=1)


def agreement(variant: Variant, worker: Worker, problems: Iterable[Problem]) -> Agreement:
    """Call `variant` on both devices and compare; an error or a crash of the variant is put into the note."""
    result = Agreement(variant.op.name, variant.name)
    wanted = [p for p in problems if not variant.refusals(p.dims, p.params, p.dtype)]
    outputs: dict[str, list[dict[str, NDArray[Any]]]] = {}
    for device in DEVICES:
        worker.renew()  # a worker process can use one device only
        try:
            outputs[device] = [_outputs(variant, worker, problem, device) for problem in wanted]
        except (Raised, Died) as outcome:
            result.note = f"{device}: {outcome}"
            return result
    for one, other in zip(*outputs.values(), strict=True):
        result.add(one, other)
    return result


def _outputs(variant: Variant, worker: Worker, problem: Problem, device: Device) -> dict[str, NDArray[Any]]:
    size = variant.workspace_size(problem.dims, 1) if variant.workspace else None
    buffers = Buffers(variant.op, problem, size)
    buffers.fill(worker.memory, materialise(variant.op, problem))
    worker.call(variant, buffers, 1, DeviceSettings(device))
    return buffers.outputs(worker.memory)
