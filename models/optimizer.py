"""The update as calls of ops: the norm of all gradients, and AdamW on each tensor of a model.

Source of the defaults: T. Brown et al., Language Models are Few-Shot Learners (2020), arXiv:2005.14165, appendix B.
Dims: K parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.builder import Builder
    from models.model import Model
    from models.state import State

__all__ = ["ADAM_EPS", "BETA1", "BETA2", "WEIGHT_DECAY", "adamw", "gradient_norm"]

BETA1, BETA2, ADAM_EPS, WEIGHT_DECAY = 0.9, 0.95, 1e-8, 0.1


def gradient_norm(build: Builder, state: State) -> None:
    """Record the call that computes the norm of all gradients."""
    build.call("global_norm", grad=state.buffers["gradients"].whole, norm=state.norm.whole)


def adamw(build: Builder, model: Model, state: State) -> None:
    """Record one AdamW call for each tensor.

    Tensors with the same dims, in any order, and the same weight decay share one label: the name of the first such tensor.
    The labels are therefore the same for every model of a family.
    """
    op = "adamw_master" if state.master else "adamw"
    labels: dict[tuple[tuple[str, ...], bool], str] = {}
    for tensor in model.tensors:
        views = {"grad": state.gradients, "param": state.parameters, "m": state.m, "v": state.v}
        if state.master:
            views["master"] = state.master
        arrays_K = {argument: tensors[tensor.name].flat for argument, tensors in views.items()}
        label = labels.setdefault((tuple(sorted(tensor.dims.split())), tensor.decays), tensor.name)
        decay = WEIGHT_DECAY if tensor.decays else 0.0
        build.call(op, label, tensor.name, **arrays_K, beta1=BETA1, beta2=BETA2, eps=ADAM_EPS, weight_decay=decay)
