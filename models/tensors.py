"""Arrays of a training step without memory: buffers, views of buffers, and the declared parameters of a model.

Dims: L layers, C channels, S context, V vocabulary in use, P rows that pad the vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from registry.dims import shape_of
from registry.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Buffer", "Init", "Kind", "Tensor", "View", "cut", "parameter_count", "parameter_shapes"]


class Kind(Enum):
    """The purpose of a buffer. Transient buffers may share bytes with each other and with gradients not yet written."""

    PARAMETERS = "parameters"
    GRADIENTS = "gradients"
    MASTER = "master weights"
    MOMENTS = "moments"
    BATCH = "batch and constants"
    TRANSIENT = "transient"


@dataclass(frozen=True, eq=False)
class Buffer:
    """A named array, to which a memory plan assigns a place."""

    name: str
    shape: tuple[int, ...]
    kind: Kind = Kind.TRANSIENT
    dtype: str = "float32"

    @property
    def size(self) -> int:
        """Size in bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def whole(self) -> View:
        """The whole buffer as a view."""
        return View(self, self.shape)


@dataclass(frozen=True)
class View:
    """A part of a buffer as an array of `shape`, from element number `start` on."""

    buffer: Buffer
    shape: tuple[int, ...]
    start: int = 0

    def layer(self, index: int) -> View:
        """Return entry `index` of the first axis."""
        shape = self.shape[1:]
        return View(self.buffer, shape, self.start + index * math.prod(shape))

    def reshape(self, *shape: int) -> View:
        """Return the same elements under another shape.

        Raises
        ------
        ContractError
            The number of elements differs.
        """
        if math.prod(shape) != self.size:
            raise ContractError(f"{self.buffer.name!r} of shape {self.shape} cannot be seen as {shape}")
        return View(self.buffer, shape, self.start)

    @property
    def flat(self) -> View:
        """The same elements along one axis."""
        return View(self.buffer, (self.size,), self.start)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def span(self) -> tuple[int, int]:
        """Offsets in bytes, within the buffer, of the first element and of the end."""
        item = np.dtype(self.buffer.dtype).itemsize
        return item * self.start, item * (self.start + self.size)


class Init(Enum):
    """The initial values of a parameter: A. Radford et al., Language Models are Unsupervised Multitask Learners (2019), 2.3."""

    NORMAL = "normal, std 0.02"
    RESIDUAL = "normal, std 0.02 / sqrt(2 L)"
    ONES = "ones"
    ZEROS = "zeros"


@dataclass(frozen=True)
class Tensor:
    """A declared parameter of a model.

    Attributes
    ----------
    name : str
        Name in checkpoints.
    dims : str
        Shape as expressions over the model's sizes, such as ``"L 3*C C"``. A tensor whose first dim is ``L`` holds all layers.
    init : Init
    decays : bool
        Whether weight decay applies.
    rows : str
        Dim expression of the number of randomly initialised rows; later rows are 0. "" means all rows.
    """

    name: str
    dims: str
    init: Init
    decays: bool = False
    rows: str = ""

    @property
    def per_layer(self) -> bool:
        """Whether the first axis counts layers."""
        return self.dims.split()[0] == "L"

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Return the shape at the sizes of a model."""
        return shape_of(self.dims, sizes)


def parameter_shapes(tensors: Iterable[Tensor], sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor by its name, in order."""
    return {tensor.name: tensor.shape(sizes) for tensor in tensors}


def parameter_count(tensors: Iterable[Tensor], sizes: Mapping[str, int]) -> int:
    """Return the number of parameters, padding included."""
    return sum(math.prod(shape) for shape in parameter_shapes(tensors, sizes).values())


def cut(tensors: Iterable[Tensor], sizes: Mapping[str, int], buffer: Buffer) -> dict[str, View]:
    """Return the tensors as parts of one flat buffer, one after the other without gaps."""
    views, start = {}, 0
    for name, shape in parameter_shapes(tensors, sizes).items():
        views[name] = View(buffer, shape, start)
        start += views[name].size
    return views
