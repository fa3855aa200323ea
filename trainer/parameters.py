"""The parameters of a GPT-2: sixteen tensors, each with all layers together, in llm.c's order and under its names.

Dims: V vocabulary (padded), S context, L layers, C channels.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from trainer.arena import View

if TYPE_CHECKING:
    from registry.models import ModelShape
    from trainer.arena import Buffer

__all__ = ["DECAYED", "PER_LAYER", "TENSORS", "cut", "parameter_count", "parameter_shapes"]

TENSORS = {
    "wte": "V C",
    "wpe": "S C",
    "ln1w": "L C",
    "ln1b": "L C",
    "qkvw": "L 3C C",
    "qkvb": "L 3C",
    "attprojw": "L C C",
    "attprojb": "L C",
    "ln2w": "L C",
    "ln2b": "L C",
    "fcw": "L 4C C",
    "fcb": "L 4C",
    "fcprojw": "L C 4C",
    "fcprojb": "L C",
    "lnfw": "C",
    "lnfb": "C",
}  # fmt: skip (one line per part of a block)
PER_LAYER = frozenset(name for name, dims in TENSORS.items() if dims.startswith("L"))
# Weight decay acts on matrices only: not on biases, not on layer-norm gains.
DECAYED = frozenset({"wte", "wpe", "qkvw", "attprojw", "fcw", "fcprojw"})


def parameter_shapes(model: ModelShape) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor, in order."""
    c = model.channels
    sizes = {"V": model.padded_vocabulary, "S": model.context, "L": model.layers, "C": c, "3C": 3 * c, "4C": 4 * c}
    return {name: tuple(sizes[dim] for dim in dims.split()) for name, dims in TENSORS.items()}


def parameter_count(model: ModelShape) -> int:
    """Return the number of parameters, the padded rows of wte included."""
    return sum(math.prod(shape) for shape in parameter_shapes(model).values())


def cut(model: ModelShape, buffer: Buffer) -> dict[str, View]:
    """Return the sixteen tensors as parts of one flat buffer, one after the other without gaps."""
    views, start = {}, 0
    for name, shape in parameter_shapes(model).items():
        views[name] = View(buffer, shape, start)
        start += views[name].size
    return views
