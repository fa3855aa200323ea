"""The calls of a training run before they have variants and memory.

Dims: B rows of a micro-step, T tokens of a row, N = B*T, V vocabulary with its padding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.state import Batch
from models.step import record_forward, record_step
from trainer.program.arena import make_plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.builder import Call
    from models.model import Model
    from registry.table import Table
    from registry.variant import Variant
    from trainer.program.arena import Plan

__all__ = ["CallKey", "StepTemplate"]

CallKey = tuple[str, str]  # op and label: a run chooses one variant for all calls with the same key


class StepTemplate:
    """The calls of a run before they have variants. The kernel set is chosen for these calls.

    Parameters
    ----------
    batch, sequence : int
        B and T of one micro-step.
    micro_steps : int
        Number of micro-steps of one update. With one micro-step, activations reuse the gradient buffers.
    ranks : int
        Number of processes whose gradients are summed.
    dtype : {"float32", "bfloat16"}
        Storage type of parameters, gradients and activations.
    """

    def __init__(
        self,
        table: Table,
        model: Model,
        batch: int,
        sequence: int,
        micro_steps: int = 1,
        ranks: int = 1,
        dtype: str = "float32",
    ) -> None:
        self.model, self.batch, self.sequence, self.micro_steps = model, batch, sequence, micro_steps
        self.dtype = dtype
        recorded = record_step(model, table.ops, batch, sequence, dtype, 1 / (batch * sequence * micro_steps * ranks))
        self.state, self.inputs, self.logits_NV = recorded.state, recorded.batch, recorded.logits_NV
        self.forward, self.evaluate = recorded.forward, recorded.loss
        self.backward = [call.in_micro_step(accumulate=False) for call in recorded.backward]
        self.backward_more = [call.in_micro_step(accumulate=True) for call in recorded.backward]
        self.gradient_norm, self.update = recorded.gradient_norm, recorded.update
        self.prompt = Batch(1, sequence)  # sampling generates one text at a time
        self.generate, self.next_logits = record_forward(model, table.ops, self.state, self.prompt.tokens_BT.whole)

    @property
    def step(self) -> list[Call]:
        """The calls of one training step without gradient accumulation, and the calls of the validation loss."""
        return [*self.forward, *self.evaluate, *self.backward, *self.gradient_norm, *self.update]

    def calls_by_key(self) -> dict[CallKey, Call]:
        """Return one call for every op and label, in the order of the step."""
        calls: dict[CallKey, Call] = {}
        for call in self.step:
            calls.setdefault((call.op.name, call.label), call)
        return calls

    def flops_of_update(self, micro_steps: int) -> float:
        """Return the floating-point operations of one update."""
        parts = ((micro_steps, [*self.forward, *self.backward]), (1, [*self.gradient_norm, *self.update]))
        return sum(times * sum(float(call.op.flops(**call.dims)) for call in calls) for times, calls in parts)

    def plan(self, threads: int, *sets: Mapping[CallKey, Variant]) -> Plan:
        """Return the memory plan, with a workspace that is large enough for each of the sets of variants."""
        timeline = [*self.forward, *self.evaluate, *self.backward]
        calls = [*timeline, *self.generate, *self.gradient_norm, *self.update]
        workspaces = [chosen[c.op.name, c.label].workspace_size(c.dims, threads) for chosen in sets for c in calls]
        item = np.dtype(np.float32).itemsize
        return make_plan(
            [*self.state.lasting, *self.inputs.lasting, *self.prompt.lasting],
            [[c.arrays.values() for c in timeline], [c.arrays.values() for c in self.generate]],
            backward_starts=len(self.forward) + len(self.evaluate),
            workspace=max(workspaces) * item,
            lend_gradients=self.micro_steps == 1,
        )
