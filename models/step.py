"""A recorded training step of a model at one batch size and sequence length: the calls to run, to race and to count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from models import optimizer
from models.builder import Builder
from models.state import Batch, State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.builder import Call
    from models.model import Model
    from models.tensors import View
    from registry.op import Op

__all__ = ["Step", "record_forward", "record_step"]


@dataclass(frozen=True)
class Step:
    """The calls of a training step, by purpose.

    Attributes
    ----------
    state, batch : State, Batch
        The arrays that last from step to step.
    logits_NV : View
        The logits, which the backward pass overwrites with their gradients.
    forward, loss, backward, gradient_norm, update : list of Call
        An update runs `forward` and `backward` for each micro-step, then `gradient_norm` and `update`. A validation runs
        `forward` and `loss`. Calls of `backward` hold the value `ACCUMULATE`.
    """

    state: State
    batch: Batch
    logits_NV: View
    forward: list[Call]
    loss: list[Call]
    backward: list[Call]
    gradient_norm: list[Call]
    update: list[Call]

    def one_update(self) -> list[Call]:
        """Return the calls of an update of one micro-step, in order."""
        backward = [call.in_micro_step(accumulate=False) for call in self.backward]
        return [*self.forward, *backward, *self.gradient_norm, *self.update]


def record_step(
    model: Model, ops: Mapping[str, Op], batch: int, sequence: int, dtype: str = "float32", scale: float | None = None
) -> Step:
    """Record a training step.

    Parameters
    ----------
    model : Model
    ops : mapping of str to Op
        The ops by name, as `registry.discover().ops` holds them.
    batch, sequence : int
        B and T of a micro-step.
    dtype : {"float32", "bfloat16"}
        Dtype of parameters, gradients and activations.
    scale : float, optional
        Weight of one token's loss in the loss of an update. Default: 1 / (B T), for an update of one micro-step.
    """
    state, arrays, build = State(model, dtype), Batch(batch, sequence), Builder(ops, dtype)
    tokens, targets, losses = arrays.tokens_BT.whole, arrays.targets_N.whole, arrays.losses_N.whole
    saved = model.forward(build, state, tokens)
    forward = build.take()
    model.loss(build, saved, targets, losses)
    loss = build.take()
    model.backward(build, state, saved, tokens, targets, losses, 1 / (batch * sequence) if scale is None else scale)
    backward = build.take()
    optimizer.gradient_norm(build, state)
    norm = build.take()
    optimizer.adamw(build, model, state)
    return Step(state, arrays, saved.logits, forward, loss, backward, norm, build.take())


def record_forward(model: Model, ops: Mapping[str, Op], state: State, tokens_BT: View) -> tuple[list[Call], View]:
    """Record a forward pass over the parameters of `state`, and return its calls and its logits, shape (N, V)."""
    build = Builder(ops, state.dtype)
    saved = model.forward(build, state, tokens_BT)
    return build.take(), saved.logits
