"""`Model`: the interface of a model family. The other rooms record, race and train a step through it alone."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.tensors import parameter_count, parameter_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from models.builder import Builder
    from models.state import State
    from models.tensors import Tensor, View

__all__ = ["Model", "Recipe"]


@dataclass(frozen=True)
class Recipe:
    """Training settings that suit a model on a CPU. Options override them.

    Attributes
    ----------
    batch, sequence : int
        B and T of a micro-step.
    steps : int
        Number of updates.
    learning_rate : float
        Peak of the learning rate schedule.
    """

    batch: int = 4
    sequence: int = 64
    steps: int = 20
    learning_rate: float = 3e-4


@dataclass(frozen=True, kw_only=True)
class Model(ABC):
    """One model: its sizes, its parameters, and its passes as calls of ops.

    Attributes
    ----------
    name : str
        The name that options and workloads use, such as ``gpt2-124m``.
    context : int
        Longest sequence, in tokens.
    vocabulary, padded_vocabulary : int
        Number of token ids in use, and rows of the token embedding.
    tokenizer : str
        Name of the tokenizer that makes the token ids.
    recipe : Recipe
    """

    name: str
    context: int
    vocabulary: int
    padded_vocabulary: int
    tokenizer: str = "gpt2"
    recipe: Recipe = Recipe()

    @property
    @abstractmethod
    def sizes(self) -> Mapping[str, int]:
        """Values of the dims of the declared tensors."""

    @property
    @abstractmethod
    def tensors(self) -> tuple[Tensor, ...]:
        """The declared parameters, in their order in memory and in checkpoints."""

    @property
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter tensor, in order."""
        return parameter_shapes(self.tensors, self.sizes)

    @property
    def parameter_count(self) -> int:
        """Number of parameters, padding included."""
        return parameter_count(self.tensors, self.sizes)

    def describe(self) -> dict[str, Any]:
        """Return the sizes and names that identify the model of a checkpoint, as plain data."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "recipe"}

    @property
    def zeros(self) -> Mapping[str, tuple[int, ...]]:
        """Names and shapes of constant zero arrays, such as the bias argument of a layer without a bias."""
        return {}

    @abstractmethod
    def small(self) -> Self:
        """Return a tiny model with the same kinds of calls: its training step compiles every kernel in a short time."""

    @abstractmethod
    def forward(self, build: Builder, state: State, tokens_BT: View) -> Any:  # noqa: ANN401 (each family saves its own arrays)
        """Record the calls from token ids to logits.

        Returns
        -------
        object
            The arrays that `backward` needs; its attribute ``logits`` is the View of the logits, (N, V).
        """

    @abstractmethod
    def loss(self, build: Builder, saved: Any, targets_N: View, losses_N: View) -> None:  # noqa: ANN401 (the result of `forward`)
        """Record the calls from logits to the loss of each row. The logits stay unchanged."""

    @abstractmethod
    def backward(
        self,
        build: Builder,
        state: State,
        saved: Any,  # noqa: ANN401 (the result of `forward`)
        tokens_BT: View,
        targets_N: View,
        losses_N: View,
        scale: float,
    ) -> None:
        """Record the calls from logits to losses and gradients.

        Parameters
        ----------
        build : Builder
        state : State
        saved : object
            The result of `forward`. The calls may overwrite the logits.
        tokens_BT, targets_N, losses_N : View
        scale : float
            Weight of one token's loss in the loss of an update.
        """
