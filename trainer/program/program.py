"""A training step as a program: a flat list of calls over one arena, built once and run many times.

Dims: B rows of a micro-step, T tokens of a row, N = B*T, V vocabulary with its padding, K parameters of the model.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from models.tensors import Kind
from registry.devices import set_threads
from registry.errors import ContractError
from trainer.program.arena import Arena
from trainer.program.binding import BoundCall, bind_call
from trainer.program.initialise import initialise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from models.builder import Call
    from registry.devices import DeviceMemory
    from registry.variant import Variant
    from trainer.program.template import CallKey, StepTemplate

__all__ = ["Program"]

Tensors = dict[str, "NDArray[np.float32]"]


class Program:
    """A step template with variants and memory. It computes everything between reading a batch and writing a file.

    Parameters
    ----------
    variants : mapping
        The variant to call, by op and label.
    others : sequence of mappings
        Further sets for `bind`. The memory plan has room for them too.

    Attributes
    ----------
    parameters, gradients : dict of str to array
        llm.c's sixteen tensors by name.
    master : dict of str to array
        The weights in float32: the parameters themselves, or the master weights of bfloat16 parameters.
    all_weights : list of array
        The parameters, and the master weights of bfloat16 parameters, each as one flat array of shape (K,).
    all_moments : list of array
        AdamW's moments, each as one flat array of shape (K,).
    all_gradients : array
        The gradients as one flat array of shape (K,).
    """

    def __init__(
        self,
        template: StepTemplate,
        variants: Mapping[CallKey, Variant],
        device: DeviceMemory,
        threads: int,
        others: Sequence[Mapping[CallKey, Variant]] = (),
    ) -> None:
        self.template, self.model, self.threads, self.device = template, template.model, threads, device
        self.plan = template.plan(threads, variants, *others)
        self.arena = arena = Arena(self.plan, device)
        set_threads(threads)  # numba is imported with the variants, so the number cannot be set earlier
        self.bind(variants)
        state, inputs = template.state, template.inputs
        self.parameters: Tensors = {n: arena.array(view) for n, view in state.parameters.items()}
        self.gradients: Tensors = {n: arena.array(view) for n, view in state.gradients.items()}
        self.master = {n: arena.array(view) for n, view in (state.master or state.parameters).items()}
        lasting = {b.kind: arena.array(b) for b in state.buffers.values()}
        self.all_weights = [lasting[kind] for kind in (Kind.PARAMETERS, Kind.MASTER) if kind in lasting]
        self.all_moments = [arena.array(b) for b in state.buffers.values() if b.kind is Kind.MOMENTS]
        self.all_gradients = lasting[Kind.GRADIENTS]
        self._tokens_BT, self._targets_N = arena.array(inputs.tokens_BT), arena.array(inputs.targets_N)
        self._losses_N, self._norm = arena.array(inputs.losses_N), arena.array(state.norm)
        self._prompt_1T, self._prompt_logits_TV = arena.array(template.prompt.tokens_BT), arena.array(template.next_logits)
        for constant in state.zeros.values():
            arena.array(constant)[...] = 0
        self.reset_optimizer()

    def bind(self, variants: Mapping[CallKey, Variant]) -> None:
        """Bind every call to the given variants. The memory and its contents stay as they are.

        Raises
        ------
        RequestError
            A variant refuses its problem.
        """

        def bound(calls: Sequence[Call]) -> list[BoundCall]:
            return [bind_call(c, variants[c.op.name, c.label], self.arena, self.threads) for c in calls]

        template = self.template
        self.forward = bound(template.forward)
        self.evaluate = bound(template.evaluate)
        self.backward = {False: bound(template.backward), True: bound(template.backward_more)}
        self.norm_calls = bound(template.gradient_norm)
        self.update = bound(template.update)
        self.generate = bound(template.generate)
        # Only the update has parameters that change from step to step, so a CUDA graph may hold everything else.
        self._run_validation = self._repeated(self.forward, self.evaluate)
        self._run_micro_step = {more: self._repeated(self.forward, self.backward[more]) for more in (False, True)}
        self._run_norm, self._run_generation = self._repeated(self.norm_calls), self._repeated(self.generate)

    def _repeated(self, *parts: Sequence[BoundCall]) -> Callable[[], None]:
        def run() -> None:
            for call in chain(*parts):
                call()

        return self.device.repeated(run)

    @property
    def state_tensors(self) -> dict[str, NDArray[Any]]:
        """The arrays that an update changes, by names such as ``parameters/wte`` and ``first moments/wte``."""
        state = self.template.state
        parts = {"parameters": state.parameters, "first moments": state.m, "second moments": state.v}
        if state.master:
            parts["master weights"] = state.master
        return {f"{part}/{name}": self.arena.array(view) for part, views in parts.items() for name, view in views.items()}

    def reset_optimizer(self) -> None:
        """Set AdamW's moments to zero, their value before the first update."""
        for buffer in self.template.state.lasting:
            if buffer.kind is Kind.MOMENTS:
                self.arena.array(buffer)[...] = 0

    def cpu_parameters(self) -> Tensors:
        """Return the parameters in float32 as numpy arrays: the arena's own arrays on the CPU, copies of a GPU's arrays."""
        return {name: self.device.get(tensor) for name, tensor in self.master.items()}

    def initialise(self, seed: int) -> None:
        """Overwrite the parameters with random initial values."""
        tensors = self.cpu_parameters()
        initialise(self.model, seed, tensors)
        for name, tensor in tensors.items():
            self.device.put(self.master[name], tensor)
            if self.template.state.master:
                self.device.put(self.parameters[name], tensor.astype(self.template.dtype))

    def load(self, inputs_BT: NDArray[np.int32], targets_BT: NDArray[np.int32]) -> None:
        """Copy a batch into the arena: the token ids, and for each token the id that follows it."""
        self.device.put(self._tokens_BT, inputs_BT)
        self.device.put(self._targets_N, targets_BT.reshape(-1))

    def validate(self) -> float:
        """Return the mean loss of the loaded batch. The call may overwrite the gradients."""
        self._run_validation()
        return self._mean_loss()

    def micro_step(self, *, accumulate: bool) -> float:
        """Compute the gradients of the loaded batch and return its mean loss.

        Parameters
        ----------
        accumulate : bool
            Add to the gradients of earlier micro-steps; otherwise overwrite them.

        Raises
        ------
        ContractError
            `accumulate` is true in a program of one micro-step per update, whose activations overwrite the gradients.
        """
        if accumulate and self.template.micro_steps == 1:
            raise ContractError("cannot add to gradients: the program is planned for one micro-step per update")
        self._run_micro_step[accumulate]()
        return self._mean_loss()

    def _mean_loss(self) -> float:
        return float(self.device.get(self._losses_N).mean(dtype=np.float64))

    def gradient_norm(self) -> float:
        """Return the norm of all gradients together."""
        self._run_norm()
        return float(self.device.get(self._norm)[0])

    def apply(self, *, learning_rate: float, grad_scale: float, step: int) -> None:
        """Update the parameters. `step` counts from 1. Each tensor and step has its own seed for stochastic rounding."""
        for number, call in enumerate(self.update):
            rounding = {"rounding_seed": step * len(self.update) + number} if self.template.state.master else {}
            call(learning_rate=learning_rate, grad_scale=grad_scale, step=step, **rounding)

    def whole_step(self, micro_steps: int = 1) -> None:
        """Run one update on the loaded batch with a learning rate of zero."""
        for number in range(micro_steps):
            self.micro_step(accumulate=number > 0)
        self.gradient_norm()
        self.apply(learning_rate=0.0, grad_scale=1.0, step=1)

    def next_logits(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Return the logits of the token after `ids`, shape (V,). Only the last T ids count."""
        recent = list(ids)[-self.template.sequence :]
        prompt_1T = np.zeros(self._prompt_1T.shape, self._prompt_1T.dtype)  # attention is causal: later tokens change nothing
        prompt_1T[0, : len(recent)] = recent
        self.device.put(self._prompt_1T, prompt_1T)
        self._run_generation()
        return self.device.get(self._prompt_logits_TV[len(recent) - 1]).astype(np.float32)

    def first_fault(self) -> str:
        """Run the loaded batch again and return the first call that writes NaN or infinity; "" if no call does."""
        for name, tensor in self.cpu_parameters().items():
            if not np.isfinite(tensor).all():
                return f"{self.template.update[0].op.name} ({name}) in the step before"
        for call in chain(self.forward, self.backward[False], self.norm_calls):
            call()
            if not all(np.isfinite(self.device.get(array)).all() for array in _written(call)):
                return str(call.call)
        return ""


def _written(call: BoundCall) -> list[NDArray[Any]]:
    written = call.call.op.outputs
    return [array for argument, array in zip(call.call.op.arguments, call.arrays, strict=True) if argument.name in written]
