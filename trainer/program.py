"""A training step as a program: a flat list of calls over one arena, built once and run many times."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from models.state import Batch
from models.step import record_forward, record_step
from models.tensors import Kind
from registry.devices import set_threads
from registry.errors import ContractError
from trainer.arena import Arena, Plan, make_plan
from trainer.binding import BoundCall, bind
from trainer.initialise import initialise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from models.builder import Call
    from models.model import Model
    from registry.devices import Device
    from registry.table import Table
    from registry.variant import Variant

__all__ = ["Outline", "Program"]

Tensors = dict[str, "NDArray[np.float32]"]


class Outline:
    """The calls of a run, before they have variants: what the kernel set is chosen for.

    Parameters
    ----------
    batch, sequence : int
        B and T of one micro-step.
    micro_steps : int
        How many micro-steps make one update. With a single one, activations may lie where its gradients will.
    ranks : int
        How many processes add up their gradients.
    dtype : {"float32", "bfloat16"}
        What parameters, gradients and activations are stored in.
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
        self.measure, self.update = recorded.gradient_norm, recorded.update
        self.prompt = Batch(1, sequence)  # one text at a time is generated
        self.generate, self.next_logits = record_forward(model, table.ops, self.state, self.prompt.tokens_BT.whole)

    @property
    def step(self) -> list[Call]:
        """The calls of one training step without accumulation, and the loss of a validation batch."""
        return [*self.forward, *self.evaluate, *self.backward, *self.measure, *self.update]

    def needs(self) -> dict[tuple[str, str], Call]:
        """Return one call for every op and label."""
        found: dict[tuple[str, str], Call] = {}
        for call in self.step:
            found.setdefault((call.op.name, call.label), call)
        return found

    def flops_of_update(self, micro_steps: int) -> float:
        """Return the floating-point operations of one update."""
        parts = ((micro_steps, [*self.forward, *self.backward]), (1, [*self.measure, *self.update]))
        return sum(times * sum(float(call.op.flops(**call.dims)) for call in calls) for times, calls in parts)

    def plan(self, threads: int, *sets: Mapping[tuple[str, str], Variant]) -> Plan:
        """Return where everything lies, with a workspace that is large enough for each of the sets of variants."""
        timeline = [*self.forward, *self.evaluate, *self.backward]
        calls = [*timeline, *self.generate, *self.measure, *self.update]
        needs = [chosen[c.op.name, c.label].workspace_size(c.dims, threads) for chosen in sets for c in calls]
        item = np.dtype(np.float32).itemsize
        return make_plan(
            [*self.state.lasting, *self.inputs.lasting, *self.prompt.lasting],
            [[c.arrays.values() for c in timeline], [c.arrays.values() for c in self.generate]],
            backward_starts=len(self.forward) + len(self.evaluate),
            workspace=max(needs) * item,
            lend_gradients=self.micro_steps == 1,
        )


class Program:
    """An outline with variants and memory: everything a run does between reading a batch and writing a file.

    Parameters
    ----------
    variants : mapping
        Per op and label, the variant to call.
    others : sequence of mappings
        Further sets that `use` may change to: memory is planned for them too.

    Attributes
    ----------
    parameters, gradients : dict of str to array
        The sixteen tensors.
    master : dict of str to array
        The same in float32: the parameters themselves, or the master weights of those in bfloat16.
    all_weights : list of array
        Parameters and, if they are others, master weights, each as one flat array.
    all_gradients : array
        The gradients as one flat array.
    """

    def __init__(
        self,
        outline: Outline,
        variants: Mapping[tuple[str, str], Variant],
        device: Device,
        threads: int,
        others: Sequence[Mapping[tuple[str, str], Variant]] = (),
    ) -> None:
        self.outline, self.model, self.threads, self.device = outline, outline.model, threads, device
        self.plan = outline.plan(threads, variants, *others)
        self.arena = arena = Arena(self.plan, device)
        set_threads(threads)  # not earlier: numba comes with the variants
        self.use(variants)
        state, inputs = outline.state, outline.inputs
        self.parameters: Tensors = {n: arena.array(view) for n, view in state.parameters.items()}
        self.gradients: Tensors = {n: arena.array(view) for n, view in state.gradients.items()}
        self.master = {n: arena.array(view) for n, view in (state.master or state.parameters).items()}
        lasting = {b.kind: arena.array(b) for b in state.buffers.values()}
        self.all_weights = [lasting[kind] for kind in (Kind.PARAMETERS, Kind.MASTER) if kind in lasting]
        self.all_gradients = lasting[Kind.GRADIENTS]
        self._tokens, self._targets = arena.array(inputs.tokens_BT), arena.array(inputs.targets_N)
        self._losses, self._norm = arena.array(inputs.losses_N), arena.array(state.norm)
        self._prompt, self._logits = arena.array(outline.prompt.tokens_BT), arena.array(outline.next_logits)
        for constant in state.zeros.values():
            arena.array(constant)[...] = 0
        self.forget()

    def use(self, variants: Mapping[tuple[str, str], Variant]) -> None:
        """Bind every call anew to the given variants, over the same memory.

        Raises
        ------
        RequestError
            One of them refuses its problem.
        """

        def bound(calls: Sequence[Call]) -> list[BoundCall]:
            return [bind(c, variants[c.op.name, c.label], self.arena, self.threads) for c in calls]

        outline = self.outline
        self.forward = bound(outline.forward)
        self.evaluate = bound(outline.evaluate)
        self.backward = {False: bound(outline.backward), True: bound(outline.backward_more)}
        self.measure = bound(outline.measure)
        self.update = bound(outline.update)
        self.generate = bound(outline.generate)
        # What changes from step to step is a parameter of the update only: all else may be captured and replayed.
        self._validate = self._repeated(self.forward, self.evaluate)
        self._micro_step = {more: self._repeated(self.forward, self.backward[more]) for more in (False, True)}
        self._measure, self._generate = self._repeated(self.measure), self._repeated(self.generate)

    def _repeated(self, *parts: Sequence[BoundCall]) -> Callable[[], None]:
        def run() -> None:
            for call in chain(*parts):
                call()

        return self.device.repeated(run)

    def forget(self) -> None:
        """Set the moments to zero, as before the first update."""
        for buffer in self.outline.state.lasting:
            if buffer.kind is Kind.MOMENTS:
                self.arena.array(buffer)[...] = 0

    def host_parameters(self) -> Tensors:
        """Return the parameters in float32 as arrays of the host: the arena's own where it lies there."""
        return {name: self.device.get(tensor) for name, tensor in self.master.items()}

    def initialise(self, seed: int) -> None:
        """Draw the parameters anew."""
        tensors = self.host_parameters()
        initialise(self.model, seed, tensors)
        for name, tensor in tensors.items():
            self.device.put(self.master[name], tensor)
            if self.outline.state.master:
                self.device.put(self.parameters[name], tensor.astype(self.outline.dtype))

    def load(self, inputs: NDArray[np.int32], targets: NDArray[np.int32]) -> None:
        """Take a batch of B x T token ids and of those that follow them."""
        self.device.put(self._tokens, inputs)
        self.device.put(self._targets, targets.reshape(-1))

    def validate(self) -> float:
        """Return the mean loss of the loaded batch; gradients do not survive it."""
        self._validate()
        return self._mean_loss()

    def micro_step(self, *, accumulate: bool) -> float:
        """Write the gradients of the loaded batch, or add them to those of earlier ones; return its mean loss.

        Raises
        ------
        ContractError
            There are no earlier ones: the program is planned for one micro-step an update, which overwrites them.
        """
        if accumulate and self.outline.micro_steps == 1:
            raise ContractError("cannot add to gradients: the program is planned for one micro-step an update")
        self._micro_step[accumulate]()
        return self._mean_loss()

    def _mean_loss(self) -> float:
        return float(self.device.get(self._losses).mean(dtype=np.float64))

    def gradient_norm(self) -> float:
        """Return the norm of all gradients together."""
        self._measure()
        return float(self.device.get(self._norm)[0])

    def apply(self, *, learning_rate: float, grad_scale: float, step: int) -> None:
        """Update the parameters; `step` counts from 1. Parameters in bfloat16 are rounded by other chances each time."""
        for number, call in enumerate(self.update):
            rounding = {"chance": step * len(self.update) + number} if self.outline.state.master else {}
            call(learning_rate=learning_rate, grad_scale=grad_scale, step=step, **rounding)

    def next_logits(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Return the logits of the token after `ids`, of which at most the last T count."""
        recent = list(ids)[-self.outline.sequence :]
        prompt = np.zeros(self._prompt.shape, self._prompt.dtype)  # causal: what comes later changes nothing
        prompt[0, : len(recent)] = recent
        self.device.put(self._prompt, prompt)
        self._generate()
        return self.device.get(self._logits[len(recent) - 1]).astype(np.float32)

    def first_fault(self) -> str:
        """Run the loaded batch once more and return the first call that leaves NaN or infinity behind; "" for none."""
        for name, tensor in self.host_parameters().items():
            if not np.isfinite(tensor).all():
                return f"{self.outline.update[0].op.name} ({name}) in the step before"
        for call in chain(self.forward, self.backward[False], self.measure):
            call()
            if not all(np.isfinite(self.device.get(array)).all() for array in _written(call)):
                return str(call.call)
        return ""


def _written(call: BoundCall) -> list[NDArray[Any]]:
    written = call.call.op.outputs
    return [array for argument, array in zip(call.call.op.arguments, call.arrays, strict=True) if argument.name in written]
