"""The outcome of a run, as it is printed and as JSON."""

from __future__ import annotations

import dataclasses
import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from registry.enums import Device
from trainer.report.machine_facts import peak_rss_mib

if TYPE_CHECKING:
    from registry.documents import training as documents
    from trainer.loop import History
    from trainer.settings import Settings

__all__ = ["Result", "result_of"]


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
        Training speed; 0 if the process made no update. On device sim this is the speed of the simulator, which says nothing
        about a GPU.
    share_of_roofline : float, optional
        Share of the peak that a race measured on this CPU. None on other devices, or without such a race.
    sample, no_sample : str
        The sampled text and ""; or "" and the reason why there is no text.
    saved : str
        The path of the saved model; "" on all ranks but rank 0.
    signal : str
        The signal that interrupted the run, such as ``SIGINT``; "" if the run was not interrupted.
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
    signal: str

    def to_json(self) -> documents.Trained:
        """Return the result as data for JSON."""
        return cast("documents.Trained", dataclasses.asdict(self))


def result_of(
    settings: Settings,
    history: History,
    *,
    kernels: dict[str, str],
    unigram_entropy: float,
    flops: float,
    peak_gflops: float | None,
    sample: str,
    no_sample: str,
    saved: str,
) -> Result:
    """Return the result of a run.

    Parameters
    ----------
    flops : float
        Floating-point operations of one update.
    peak_gflops : float, optional
        The measured peak of this CPU. None on other devices, or without such a race.
    """
    seconds = statistics.fmean(history.settled_seconds) if history.settled_seconds else math.inf
    return Result(
        model=settings.model.name,
        device=Device(settings.device),
        dtype=settings.dtype,
        steps=history.steps,
        ranks=settings.ranks,
        kernels=kernels,
        train_loss=history.train_loss,
        val_loss=history.val_loss,
        val_steps=history.val_steps,
        unigram_entropy=unigram_entropy,
        tokens_per_second=settings.tokens_per_step / seconds,
        step_ms_median=history.median_ms,
        share_of_roofline=flops / seconds / 1e9 / peak_gflops if peak_gflops else None,
        peak_rss_mib=peak_rss_mib(),
        sample=sample,
        no_sample=no_sample,
        saved=saved,
        interrupted=history.interrupted,
        signal=history.signal,
    )
