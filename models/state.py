"""The arrays that last from step to step: parameters, gradients, moments, constants, and the arrays of the batch.

Dims: B batch, T time, N = B*T rows, K parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.tensors import Buffer, Kind, cut

if TYPE_CHECKING:
    from models.model import Model

__all__ = ["Batch", "State"]


class State:
    """Parameters, gradients and moments of a model. Each is one flat buffer, which is cut into tensors.

    If parameters and gradients are bfloat16, the update works on master weights in float32.

    Attributes
    ----------
    parameters, gradients, m, v : dict of str to View
        The model's tensors by name.
    master : dict of str to View, or None
        Master weights; None if the parameters are float32.
    zeros : dict of str to View
        Constant zero arrays.
    norm : Buffer
        The norm of all gradients, shape (1,).
    """

    def __init__(self, model: Model, dtype: str) -> None:
        size = (model.parameter_count,)
        kinds = {"first moments": Kind.MOMENTS, "second moments": Kind.MOMENTS}
        if dtype != "float32":
            kinds["master weights"] = Kind.MASTER
        stored = {"parameters": Kind.PARAMETERS, "gradients": Kind.GRADIENTS}
        self.dtype = dtype
        self.buffers = {name: Buffer(name, size, kind, dtype) for name, kind in stored.items()}
        self.buffers |= {name: Buffer(name, size, kind) for name, kind in kinds.items()}
        parts = [cut(model.tensors, model.sizes, buffer) for buffer in self.buffers.values()]
        self.parameters, self.gradients, self.m, self.v, *master = parts
        self.master = master[0] if master else None
        self.zeros = {name: Buffer(name, shape, Kind.BATCH, dtype).whole for name, shape in model.zeros.items()}
        self.norm = Buffer("gradient norm", (1,), Kind.BATCH)

    @property
    def lasting(self) -> list[Buffer]:
        """All buffers of the state."""
        return [*self.buffers.values(), *(view.buffer for view in self.zeros.values()), self.norm]


class Batch:
    """The arrays of a micro-step: token ids, the id after each of them, and the loss of each."""

    def __init__(self, batch: int, sequence: int) -> None:
        rows = batch * sequence
        self.tokens_BT = Buffer("tokens", (batch, sequence), Kind.BATCH, "int32")
        self.targets_N = Buffer("targets", (rows,), Kind.BATCH, "int32")
        self.losses_N = Buffer("losses", (rows,), Kind.BATCH)

    @property
    def lasting(self) -> list[Buffer]:
        """All buffers of the batch."""
        return [self.tokens_BT, self.targets_N, self.losses_N]
