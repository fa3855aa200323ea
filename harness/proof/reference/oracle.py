"""Runs the oracle and the reference of an op: torch in float64 or float32, and plain numpy in float64.

Worker processes never receive the results.
"""

from __future__ import annotations

import gc
import importlib
import inspect
import threading
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from registry.dtypes import is_float

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from registry.op import Op

__all__ = ["load", "reference_parameters", "run_oracle", "run_reference"]


def load() -> None:
    """Import torch, which takes seconds, before it is needed."""
    # The import makes hundreds of thousands of objects that stay alive: garbage collection need not search them.
    collects = gc.isenabled()
    gc.disable()
    with suppress(ImportError):  # `run_oracle` raises it again
        importlib.import_module("torch")
    gc.freeze()
    if collects:
        gc.enable()


@cache
def reference_parameters(op: Op) -> tuple[str, ...]:
    """Return the names of inputs and in-outs in the order of the reference's parameters."""
    parameters = inspect.signature(op.reference).parameters.values()
    return tuple(p.name for p in parameters if p.kind is not p.KEYWORD_ONLY)


class _OneThread:
    """Sets torch to one thread while any thread is inside the context: the number belongs to the whole process."""

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, 1

    @contextmanager
    def of(self, torch: Any) -> Iterator[None]:  # noqa: ANN401 (torch is imported late and has no type here)
        with self._lock:
            if not self._inside:
                self._before = torch.get_num_threads()
                torch.set_num_threads(1)
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    torch.set_num_threads(self._before)


_one_thread = _OneThread()


def run_oracle(
    op: Op, values: Mapping[str, NDArray[Any]], params: Mapping[str, Any], dtype: str = "float64"
) -> dict[str, NDArray[Any]]:
    """Return the outputs of the oracle, which torch computes in `dtype`, by name; integers are passed as int64."""
    import torch

    tensors = []
    for name in reference_parameters(op):
        array = values[name]
        tensors.append(torch.from_numpy(array.astype(dtype if is_float(array.dtype) else np.int64)))
    with _one_thread.of(torch):
        results = op.oracle(torch, *tensors, **params)
    results = results if isinstance(results, tuple) else (results,)
    return {n: r.detach().numpy() for n, r in zip(op.outputs, results, strict=True)}


def run_reference(op: Op, values: Mapping[str, NDArray[Any]], params: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return the outputs of the reference with float64 inputs, by name."""
    inputs = (values[n] for n in reference_parameters(op))
    arrays = [a.astype(np.float64) if is_float(a.dtype) else a.copy() for a in inputs]
    with np.errstate(all="ignore"):
        results = op.reference(*arrays, **params)
    results = results if isinstance(results, tuple) else (results,)
    return {n: np.asarray(r, np.float64) for n, r in zip(op.outputs, results, strict=True)}
