"""A board: one op at one workload, with the dims that a request, a probe or a control uses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.proof.cases.memory import CALL_COPIES, require_memory
from models.workloads import workloads_of
from registry.errors import RequestError, UnknownNameError
from registry.op import Role

if TYPE_CHECKING:
    from collections.abc import Iterable

    from registry.op import Op

__all__ = ["BASELINE", "Board", "boards_for", "last_level_cache", "parse_dims", "shrunken", "typical_dims"]

BASELINE = "torch"  # the name of the contestant that calls torch's own implementation of the op
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
USUAL_CACHE = 32 << 20
MEBI = 1 << 20


@dataclass(frozen=True)
class Board:
    """The op, dims, parameters and dtype of one race.

    Attributes
    ----------
    folder : Path
        Holds the drawn values, and the outputs to be checked, during the race.
    """

    op: Op
    workload: str
    dims: dict[str, int]
    params: dict[str, Any]
    dtype: str
    folder: Path

    @property
    def flops(self) -> float:
        """Floating-point operations of one call."""
        return float(self.op.flops(**self.dims))

    @property
    def moved(self) -> float:
        """Bytes that one call must read or write at least."""
        return float(self.op.bytes_moved(self.dims, self.dtype, self.params))

    def nbytes(self, *roles: Role) -> int:
        """Return the bytes of the arguments of the given roles (all of them by default)."""
        return _nbytes(self.op, self.dims, self.dtype, *(roles or Role))


def _nbytes(op: Op, dims: dict[str, int], dtype: str, *roles: Role) -> int:
    total = 0
    for argument in op.with_role(*roles):
        size = argument.numpy_dtype(dtype).itemsize
        for extent in argument.shape(dims):
            size *= extent
        total += size
    return total


def params_for(op: Op, dims: dict[str, int]) -> dict[str, Any]:
    """Return the parameters of a race: the first value of each choice, and the parameters that follow from the dims."""
    return {**{n: v[0] for n, v in op.params.items() if not isinstance(v, str)}, **op.bound_params(dims)}


def shrunken(op: Op, dims: dict[str, int], work: float) -> dict[str, int]:
    """Return `dims` with the largest one halved until a call does at most `work` operations and moves at most `work` bytes."""
    dims = dict(dims)
    while max(op.flops(**dims), op.bytes_moved(dims)) > work:
        largest = max(dims, key=lambda name: dims[name])
        if dims[largest] // 2 < max(op.domain[largest].start, 1):
            break
        dims[largest] //= 2
    return dims


def parse_dims(op: Op, text: str) -> dict[str, int]:
    """Read ``"N=256 C=768"`` as values for every dim of `op`.

    Raises
    ------
    RequestError
        A word has another form, the op does not take a value, a dim is missing, or the arrays do not fit into memory.
    """
    dims: dict[str, int] = {}
    for word in text.replace(",", " ").split():
        name, equals, value = word.partition("=")
        if not equals or not value.lstrip("-").isdigit():
            raise RequestError(f"--dims: {word!r} is not NAME=NUMBER, such as N=256")
        if name not in op.domain:
            raise UnknownNameError(f"dim of {op.name}", name, op.domain)
        if int(value) < op.domain[name].start:
            raise RequestError(f"--dims: {word!r}: {op.name} takes {name} from {op.domain[name].start} on")
        dims[name] = int(value)
    if missing := [name for name in op.domain if name not in dims]:
        raise RequestError(f"--dims of {op.name}: no value for {', '.join(missing)}; it takes {', '.join(op.domain)}")
    if not _nbytes(op, dims, "float32", Role.OUTPUT, Role.INOUT):
        raise RequestError(f"--dims {text!r}: {op.name} has nothing to compute at this size")
    require_memory(op, dims, "--dims", CALL_COPIES)
    return dims


def typical_dims(op: Op) -> dict[str, int]:
    """Return the dims of the op's first workload; without one, the largest dims that hypothesis draws."""
    known = workloads_of(op)
    return dict(known[0].dims) if known else {name: values.stop - 1 for name, values in op.domain.items()}


def boards_for(ops: Iterable[Op], workload: str | None, dims: str | None, dtype: str, folder: Path) -> list[Board]:
    """Return the boards that a request selects.

    Parameters
    ----------
    ops : iterable of Op
    workload : str or None
        A training step or one of its calls; None for the standard step, or for the examples of an op that no step calls.
    dims : str or None
        A shape such as ``"N=256 C=768"`` instead of a workload.
    dtype : str
    folder : Path
        Each board gets a sub-folder of this folder for its values.

    Raises
    ------
    RequestError
        The workload or a dim is unknown, no op has the label of ``STEP/qkv``, or the step calls none of the ops.
    """
    ops = list(ops)
    boards: list[Board] = []
    unknown: UnknownNameError | None = None
    for op in ops:
        calls: list[tuple[str, dict[str, int], dict[str, Any]]] = []
        if dims is not None:
            bound = parse_dims(op, dims)
            calls.append((",".join(f"{k}={v}" for k, v in bound.items()), bound, {}))
        else:
            try:
                calls += [(w.name, dict(w.dims), dict(w.params)) for w in workloads_of(op, workload, dtype)]
            except UnknownNameError as error:
                if "/" not in str(workload):
                    raise
                unknown = error
        for name, values, known in calls:
            path = folder / f"{op.name}-{len(boards)}"
            boards.append(Board(op, name, values, {**params_for(op, values), **known}, dtype, path))
    if not boards:
        raise unknown or RequestError(_uncalled(ops, str(workload)))
    return boards


def _uncalled(ops: list[Op], workload: str) -> str:
    """Return the message for a step that calls none of the ops."""
    names, examples = ", ".join(op.name for op in ops), dict.fromkeys(name for op in ops for name in op.examples)
    ways = [f"--workload example ({', '.join(examples)})"] if examples else []
    ways.append(f"a shape with --dims '{' '.join(f'{dim}=64' for dim in ops[0].domain)}'")
    return f"{workload} makes no call of {names}; race {'it' if len(ops) == 1 else 'them'} at {' or '.join(ways)}"


def last_level_cache() -> int:
    """Return the bytes of the largest cache of this machine."""
    sizes = [p.read_text().strip() for p in CACHES.glob("index*/size")] if CACHES.exists() else []
    units = {"K": 1 << 10, "M": MEBI}
    return max((int(s[:-1]) * units[s[-1]] for s in sizes if s and s[-1] in units), default=USUAL_CACHE)
