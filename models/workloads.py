"""The workloads of a training step: its distinct calls, each with the number of times that the step makes it.

The name of a workload begins with its step: ``gpt2-124m-b4-t64/qkv`` is the QKV product of a 124M step at B=4, T=64. An op
that no step calls has the examples of its spec as workloads: ``example/llama-7b``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from models import find
from models.builder import RUNTIME_PARAMS, Call
from models.step import record_step
from registry.errors import RequestError, UnknownNameError
from registry.table import discover

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from models.model import Model
    from registry.op import Op

__all__ = ["EXAMPLE", "STANDARD_STEP", "Workload", "call_workload", "parse_step", "step_name", "step_workloads", "workloads_of"]

STANDARD_STEP = "gpt2-124m-b4-t64"
EXAMPLE = "example"
_STEP = re.compile(r"^(?P<model>.+)-b(?P<batch>[1-9]\d*)-t(?P<sequence>[1-9]\d*)$")


@dataclass(frozen=True)
class Workload:
    """One call to race.

    Attributes
    ----------
    name : str
        Step and label, such as ``gpt2-124m-b4-t64/qkv``.
    op, label : str
    dims : mapping of str to int
    params : mapping
        Parameters with known values.
    dtype : str
    count : int
        Number of such calls in an update of one micro-step; 0 for a call that only a validation makes, and for an example.
    """

    name: str
    op: str
    label: str
    dims: Mapping[str, int]
    params: Mapping[str, Any] = field(default_factory=dict)
    dtype: str = "float32"
    count: int = 0

    @property
    def step(self) -> str:
        """The name of the training step; ``example`` for an op that no step calls."""
        return self.name.partition("/")[0]


def step_name(model: Model, batch: int, sequence: int) -> str:
    """Return the name of a training step, such as ``gpt2-124m-b4-t64``."""
    return f"{model.name}-b{batch}-t{sequence}"


def parse_step(name: str) -> tuple[Model, int, int]:
    """Split ``gpt2-124m-b4-t64`` into the model, the batch B and the sequence length T.

    Raises
    ------
    RequestError
        The name has a wrong form or an unknown model, or T is longer than the model's context.
    """
    match = _STEP.match(name)
    if match is None:
        raise RequestError(f"unknown workload {name!r}: write MODEL-bBATCH-tSEQUENCE, such as {STANDARD_STEP}")
    model = find(match["model"])
    sequence = int(match["sequence"])
    if sequence > model.context:
        raise RequestError(f"workload {name!r}: sequence {sequence} is longer than {model.name}'s context {model.context}")
    return model, int(match["batch"]), sequence


def _named(step: str, label: str) -> str:
    return f"{step}/{label}" if label else step


def call_workload(step: str, call: Call) -> str:
    """Return the name of the workload of a call in the step `step`."""
    return _named(step, call.label)


def _count(step: str, calls: Iterable[Call], *, validation: Iterable[Call]) -> tuple[Workload, ...]:
    counted: dict[tuple[str, str], tuple[Call, int]] = {}
    for part, weight in ((calls, 1), (validation, 0)):
        for call in part:
            key = call.op.name, call.label
            first, number = counted.setdefault(key, (call, 0))
            if dict(first.dims) != dict(call.dims):
                raise ValueError(
                    f"{step}: calls of {call} differ in size, {dict(first.dims)} and {dict(call.dims)}: label them"
                )
            counted[key] = first, number + weight
    return tuple(
        Workload(_named(step, label), op, label, call.dims, _fixed(call), call.dtype, number)
        for (op, label), (call, number) in counted.items()
    )


def _fixed(call: Call) -> dict[str, Any]:
    return {name: value for name, value in call.params.items() if name not in RUNTIME_PARAMS}


@cache
def step_workloads(step: str, dtype: str = "float32") -> tuple[Workload, ...]:
    """Return the workloads of a training step, in the order in which the step first calls them.

    Parameters
    ----------
    step : str
        ``MODEL-bB-tT``.
    dtype : {"float32", "bfloat16"}
        Dtype of the step's parameters, gradients and activations.

    Raises
    ------
    RequestError
        The name is not the name of a step.
    """
    model, batch, sequence = parse_step(step)
    recorded = record_step(model, discover().ops, batch, sequence, dtype)
    update = recorded.one_update()
    called = {call.op.name for call in update}
    return _count(step, update, validation=[call for call in recorded.loss if call.op.name not in called])


def _examples(op: Op, label: str) -> list[Workload]:
    if label and label not in op.examples:
        raise UnknownNameError(f"example of {op.name}", label, op.examples)
    chosen = {name: dims for name, dims in op.examples.items() if label in ("", name)}
    return [Workload(f"{EXAMPLE}/{name}", op.name, name, dict(dims)) for name, dims in chosen.items()]


def workloads_of(op: Op, name: str | None = None, dtype: str | None = None) -> list[Workload]:
    """Return the workloads of one op.

    Parameters
    ----------
    op : Op
    name : str, optional
        A step, one of its calls (``gpt2-124m-b4-t64/qkv``), ``example`` or one example (``example/llama-7b``). Default:
        the calls of the op in the standard step, or the op's examples if the standard step has no call of it.
    dtype : str, optional
        Default: the first dtype of the op.

    Returns
    -------
    list of Workload
        Empty if the op has no call in the named step.

    Raises
    ------
    RequestError
        The name is not the name of a workload.
    UnknownNameError
        The model or the label does not exist; the message offers the nearest name.
    """
    step, _, label = (name or STANDARD_STEP).partition("/")
    if step == EXAMPLE:
        return _examples(op, label)
    stored = dtype if dtype in op.dtypes else op.dtypes[0]
    workloads = [w for w in step_workloads(step, stored) if w.op == op.name]
    if not workloads and name is None:
        return _examples(op, "")
    if label and workloads and label not in (labels := [w.label for w in workloads]):
        raise UnknownNameError(f"call of {op.name} in {step}", label, labels)
    return [w for w in workloads if label in ("", w.label)]
