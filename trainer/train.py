"""Train the program of a run, save the model, sample a text, and return the result."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainer.data.tokenizer import END_OF_TEXT, decode
from trainer.loop import fit, interruptible
from trainer.report.console import ProgressBar
from trainer.report.machine_facts import peak_gflops, peak_rss_mib
from trainer.sampling import sample, why_no_sample
from trainer.state import checkpoint

if TYPE_CHECKING:
    from pathlib import Path

    from registry.enums import Device
    from trainer.data.dataset import Dataset
    from trainer.loop import History
    from trainer.opened import Opened
    from trainer.program.program import Program

__all__ = ["Result", "train"]

SAMPLE_TOP_K = 40


@dataclass(frozen=True, kw_only=True)
class Result:
    """The outcome of a run.

    Attributes
    ----------
    ranks : int
        Number of processes that trained the model.
    kernels : dict of str to str
        Variant by ``op``, or by ``op/label`` if the calls of an op have different variants, as ``--kernels`` accepts them.
    train_loss, val_loss : list of float
        Training loss of each update; validation losses before, during and after the training.
    val_steps : list of int
        Number of updates before each validation loss.
    unigram_entropy : float
        Loss of a model that knows only how frequent each token is.
    tokens_per_second : float
        Training speed. On device sim this is the simulator's speed, which says nothing about a GPU.
    share_of_roofline : float, optional
        Share of the peak that a race measured on this CPU. None on other devices, or without such a race.
    sample, no_sample : str
        The sampled text and ""; or "" and the reason why there is no text.
    saved : str
        The path of the saved model; "" on all ranks but rank 0.
    """

    model: str
    device: Device
    dtype: str
    steps: int
    ranks: int
    kernels: dict[str, str]
    train_loss: list[float]
    val_loss: list[float]
    val_steps: list[int]
    unigram_entropy: float
    tokens_per_second: float
    step_ms_median: float
    share_of_roofline: float | None
    peak_rss_mib: float
    sample: str
    no_sample: str
    saved: str
    interrupted: bool

    def to_json(self) -> dict[str, Any]:
        """Return the result as data for JSON."""
        return dataclasses.asdict(self)


def train(run: Opened, kernels: dict[str, str], program: Program, data: Dataset, folder: Path | None) -> Result:
    """Train, save and sample.

    Parameters
    ----------
    kernels : dict of str to str
        The names of the program's kernels.
    folder : Path, optional
        The folder of the saved model. None on a rank that saves nothing.

    Raises
    ------
    DivergedError
        A loss is not finite. Nothing is saved.
    """
    settings, place = run.settings, run.device.kind
    gflops, flops = peak_gflops(run.store, settings.threads, place), run.template.flops_of_update(settings.micro_steps)
    with (
        ProgressBar(settings.updates, settings.tokens_per_step, flops, gflops, place, quiet=not run.leads) as bar,
        interruptible(bar.say) as interrupt,
    ):
        history = fit(program, data, settings, bar, interrupt, run.ranks)
    saved = _save(run, kernels, program, history, folder) if folder else ""
    if history.interrupted:
        run.say(f"interrupted after step {history.steps} of {settings.updates}; saved {saved}")
    no_sample = _why_no_sample(run, history, data)
    seconds = sum(history.settled_seconds) / len(history.settled_seconds)
    return Result(
        model=settings.model.name,
        device=place,
        dtype=settings.dtype,
        steps=history.steps,
        ranks=settings.ranks,
        kernels=kernels,
        train_loss=history.train_loss,
        val_loss=history.val_loss,
        val_steps=history.val_steps,
        unigram_entropy=data.unigram_entropy,
        tokens_per_second=settings.tokens_per_step / seconds,
        step_ms_median=history.median_ms,
        share_of_roofline=flops / seconds / 1e9 / gflops if gflops else None,
        peak_rss_mib=peak_rss_mib(),
        sample="" if no_sample else _sample(run, program),
        no_sample=no_sample,
        saved=saved,
        interrupted=history.interrupted,
    )


def _save(run: Opened, kernels: dict[str, str], program: Program, history: History, folder: Path) -> str:
    settings = run.settings
    about = {
        "steps": history.steps,
        "of_steps": settings.updates,
        "data": settings.data,
        "batch": settings.B,
        "sequence": settings.T,
        "total_batch": settings.tokens_per_step,
        "ranks": settings.ranks,
        "dtype": settings.dtype,
        "seed": settings.seed,
        "train_loss": history.train_loss[-1],
        "val_loss": history.val_loss[-1],
        "kernels": kernels,
    }
    return str(checkpoint.save(folder, settings.model, program.cpu_parameters(), about))


def _why_no_sample(run: Opened, history: History, data: Dataset) -> str:
    if not run.leads:
        return "rank 0 samples"
    if history.interrupted:
        return "the run was interrupted"
    return why_no_sample(history.val_loss[-1], data.unigram_entropy, history.steps, run.settings.recipe.steps)


def _sample(run: Opened, program: Program) -> str:
    settings = run.settings
    ids = sample(
        program.next_logits,
        [END_OF_TEXT],
        settings.sample_tokens,
        settings.seed,
        top_k=SAMPLE_TOP_K,
        vocabulary=settings.model.vocabulary,
    )
    return decode(ids)
