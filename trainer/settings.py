"""The settings of a run. The constructor checks them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import models
from registry.dtypes import DTYPES
from registry.errors import RequestError, UnknownNameError
from registry.machine import thread_count
from registry.paths import RESULTS
from trainer.schedule import Schedule

if TYPE_CHECKING:
    from pathlib import Path

    from models import Model, Recipe

__all__ = ["DEFAULT_MODEL", "OPTIONAL_TYPES", "OPTION_TYPES", "Settings"]

# The types of the options that `Settings.options` always has, and of the options that may have no value.
OPTION_TYPES: dict[str, tuple[type, ...]] = {
    "model": (str,),
    "kernels": (str,),
    "data": (str,),
    "batch": (int,),
    "sequence": (int,),
    "total_batch": (int,),
    "steps": (int,),
    "learning_rate": (float, int),
    "threads": (int,),
    "device": (str,),
    "ranks": (int,),
    "dtype": (str,),
    "cuda_graph": (bool,),
    "seed": (int,),
    "keep": (int,),
    "results": (str,),
    "kernels_path": (list,),
}
OPTIONAL_TYPES: dict[str, tuple[type, ...]] = {
    "checkpoint_every": (int,),
    "checkpoint_minutes": (float, int),
    "keep_every": (int,),
    "out": (str,),
}
DEFAULT_MODEL = "gpt2-micro"
MOST = 2**31 - 1  # of rows, tokens or updates
DEFAULT_MINUTES = 10.0  # between checkpoints: the most work that a crash costs


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one run. A setting of None takes the model's default.

    Attributes
    ----------
    total_batch : int, optional
        Tokens of one update, a multiple of batch x sequence x ranks. An update of several micro-steps accumulates their
        gradients. Default: one micro-step.
    ranks : int
        Number of processes that train one model. Each process has its own B rows.
    dtype : {"float32", "bfloat16"}
        Storage type of parameters, gradients and activations. Arithmetic, moments and master weights are float32.
    cuda_graph : bool
        On device cuda, capture the calls that are the same in each step in a CUDA graph, and launch the graph in each step.
    out : Path, optional
        Folder of the run. Default: ``out/MODEL``, or the first free folder of ``out/MODEL-2``, ``out/MODEL-3``, ...
    seed : int
        Seed of the initial weights, of the batches and of the sample.
    checkpoint_every : int, optional
        Number of updates between checkpoints.
    checkpoint_minutes : float, optional
        Time between checkpoints. Default: 10 minutes without `checkpoint_every`, otherwise none.
    keep : int
        Number of the newest checkpoints that stay.
    keep_every : int, optional
        Checkpoints after a multiple of this number of updates stay, too.
    warmup_share, final_fraction : float
        Share of the updates in the warm-up, and learning rate at the end as a fraction of the peak.
    clip : float
        Largest norm of the gradients. Larger gradients are scaled down to it.
    evaluations : int
        Number of validations, including the validations before the first and after the last update.
    validation_batches : int
        Micro-batches of one validation.
    sample_tokens : int
        Length of the sampled text.
    """

    model: Model = field(default_factory=lambda: models.find(DEFAULT_MODEL))
    kernels: str = "best"
    data: str = "embedded"
    batch: int | None = None
    sequence: int | None = None
    total_batch: int | None = None
    steps: int | None = None
    learning_rate: float | None = None
    threads: int = field(default_factory=thread_count)
    device: str = "cpu"
    ranks: int = 1
    dtype: str = "float32"
    cuda_graph: bool = True
    out: Path | None = None
    seed: int = 42
    checkpoint_every: int | None = None
    checkpoint_minutes: float | None = None
    keep: int = 2
    keep_every: int | None = None
    warmup_share: float = 0.05
    final_fraction: float = 0.1
    clip: float = 1.0
    evaluations: int = 6
    validation_batches: int = 8
    sample_tokens: int = 96
    results: Path = RESULTS
    kernels_path: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise UnknownNameError("dtype", self.dtype, DTYPES)
        for name in ("batch", "sequence", "total_batch", "steps", "checkpoint_every", "keep", "keep_every"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= MOST:
                upward = "up" if value < 1 else f"to {MOST}"
                raise RequestError(f"--{name.replace('_', '-')} {value}: give a whole number from 1 {upward}")
        if self.seed < 0:
            raise RequestError(f"--seed {self.seed}: give a whole number from 0 up")
        if self.learning_rate is not None and not 0 < self.learning_rate < float("inf"):
            raise RequestError(f"--learning-rate {self.learning_rate}: give a number above 0")
        if self.checkpoint_minutes is not None and not 0 < self.checkpoint_minutes < float("inf"):
            raise RequestError(f"--checkpoint-minutes {self.checkpoint_minutes}: give a number above 0")
        if self.sequence is not None and self.sequence > self.model.context:
            raise RequestError(f"--sequence {self.sequence}: {self.model.name} has a context of {self.model.context} tokens")
        if not 1 <= self.threads <= thread_count():
            raise RequestError(f"--threads {self.threads}: this process may use 1 to {thread_count()} cores")
        micro = self.tokens_per_micro_step
        if rest := self.tokens_per_step % micro:
            low = self.tokens_per_step - rest
            factors = {"batch": self.B, "sequence": self.T} | ({"ranks": self.ranks} if self.ranks > 1 else {})
            raise RequestError(
                f"--total-batch {self.total_batch} is no multiple of {' x '.join(factors)} = "
                f"{' x '.join(map(str, factors.values()))} = {micro}; "
                f"nearest: {' or '.join(str(n) for n in (low, low + micro) if n)}"
            )

    @property
    def recipe(self) -> Recipe:
        """The model's default settings."""
        return self.model.recipe

    @property
    def B(self) -> int:  # noqa: N802 (the dim's name)
        """Rows of a micro-step."""
        return self.batch or self.recipe.batch

    @property
    def T(self) -> int:  # noqa: N802 (the dim's name)
        """Tokens of a row."""
        return self.sequence or self.recipe.sequence

    @property
    def tokens_per_micro_step(self) -> int:
        """B x T x ranks."""
        return self.B * self.T * self.ranks

    @property
    def tokens_per_step(self) -> int:
        """Tokens of one update."""
        return self.total_batch or self.tokens_per_micro_step

    @property
    def micro_steps(self) -> int:
        """Micro-steps of one update, on each rank."""
        return self.tokens_per_step // self.tokens_per_micro_step

    @property
    def updates(self) -> int:
        """Number of updates."""
        return self.steps or self.recipe.steps

    @property
    def minutes_between_checkpoints(self) -> float | None:
        """Time between checkpoints; None if only updates count."""
        default = DEFAULT_MINUTES if self.checkpoint_every is None else None
        return default if self.checkpoint_minutes is None else self.checkpoint_minutes

    def options(self) -> dict[str, Any]:
        """Return every option of the run with its value, defaults included, as data for JSON and TOML."""
        return {
            "model": self.model.name,
            "kernels": self.kernels,
            "data": self.data,
            "batch": self.B,
            "sequence": self.T,
            "total_batch": self.tokens_per_step,
            "steps": self.updates,
            "learning_rate": self.schedule.peak,
            "threads": self.threads,
            "device": str(self.device),
            "ranks": self.ranks,
            "dtype": self.dtype,
            "cuda_graph": self.cuda_graph,
            "seed": self.seed,
            "checkpoint_every": self.checkpoint_every,
            "checkpoint_minutes": self.checkpoint_minutes,
            "keep": self.keep,
            "keep_every": self.keep_every,
            "results": str(self.results.absolute()),
            "kernels_path": [str(path.absolute()) for path in self.kernels_path],
            "out": None if self.out is None else str(self.out.absolute()),
        }

    @property
    def schedule(self) -> Schedule:
        """The learning rate of each update."""
        warmup = max(1, round(self.warmup_share * self.updates)) if self.warmup_share else 0
        return Schedule(self.learning_rate or self.recipe.learning_rate, self.updates, warmup, self.final_fraction)
