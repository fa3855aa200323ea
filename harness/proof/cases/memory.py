"""The memory that a problem needs, compared with the memory that is available."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import psutil

from registry.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry.op import Op

__all__ = ["CALL_COPIES", "PROOF_COPIES", "require_memory", "shortage"]

# The float64 copies of all arguments in use at a time: by a process that judges an output, and by a call and its reference.
PROOF_COPIES, CALL_COPIES = 8, 2
GIB = 1 << 30


def shortage(op: Op, dims: Mapping[str, int], copies: int) -> str:
    """Return a message if `copies` float64 copies of all arguments of `op` need more memory than is available, else ``""``."""
    needed = copies * 8 * sum(math.prod(a.shape(dims)) for a in op.arguments)
    available = psutil.virtual_memory().available
    if needed <= available:
        return ""
    return f"needs {needed / GIB:,.1f} GiB of memory ({needed:,} bytes), {available / GIB:,.1f} GiB are available"


def require_memory(op: Op, dims: Mapping[str, int], option: str, copies: int = PROOF_COPIES) -> None:
    """Refuse a shape whose arrays do not fit into memory.

    Raises
    ------
    RequestError
        The message names `option`, the dims, the bytes that the shape needs and the bytes that are available.
    """
    if message := shortage(op, dims, copies):
        shape = " ".join(f"{name}={size}" for name, size in dims.items())
        raise RequestError(f"{option} '{shape}': {op.name} {message}; give smaller dims")
