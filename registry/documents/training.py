"""The documents about training: a run, its plan, and whole steps beside torch."""

from __future__ import annotations

from typing import Annotated, TypedDict

__all__ = ["ArmFields", "Equality", "Planned", "RatioFields", "StepTimes", "Trained"]


class Planned(TypedDict):
    """The kernels and the memory of a run that was not started."""

    model: Annotated[str, "the model"]
    kernels: Annotated[dict[str, str], "the variant by `op`, or by `op/label` if the calls of an op have different variants"]
    plan_mib: Annotated[dict[str, float], "the memory of each part, and `total`, in MiB"]


class Trained(TypedDict):
    """A finished or interrupted run."""

    model: Annotated[str, "the model"]
    device: Annotated[str, "`cpu`, `sim` or `cuda`"]
    dtype: Annotated[str, "the storage type"]
    steps: Annotated[int, "updates"]
    ranks: Annotated[int, "processes"]
    kernels: Annotated[dict[str, str], "the variant by `op`, or by `op/label` if the calls of an op have different variants"]
    train_loss: Annotated[list[float], "the loss of each update"]
    val_loss: Annotated[list[float], "the validation losses: before, during and after the training"]
    val_steps: Annotated[list[int], "the number of updates before each validation loss"]
    unigram_entropy: Annotated[float, "the loss of a model that knows only how frequent each token is"]
    tokens_per_second: Annotated[float, "the speed; on device `sim` that of the simulator"]
    step_ms_median: Annotated[float, "median milliseconds of an update"]
    share_of_roofline: Annotated[float | None, "share of the measured peak of the CPU; null without a race"]
    peak_rss_mib: Annotated[float, "peak memory of the process, in MiB"]
    sample: Annotated[str, "a sampled text"]
    no_sample: Annotated[str, "the reason why there is no text; `` if there is one"]
    saved: Annotated[str, "the saved model"]
    interrupted: Annotated[bool, "whether a signal ended the run early; the exit code is 128 and the number of the signal then"]
    signal: Annotated[str, "the signal that ended the run early: `SIGINT` (Ctrl-C), `SIGTERM` or `SIGHUP`; `` if none did"]


class ArmFields(TypedDict):
    """The times of one arm: Crucible, or torch with one of its settings."""

    arm: Annotated[str, "the arm"]
    ms: Annotated[list[float], "the time of the step of each round"]
    losses: Annotated[list[float], "the loss of every step"]
    median: Annotated[float, "median milliseconds"]
    lower_quartile: Annotated[float, "lower quartile, in milliseconds"]
    upper_quartile: Annotated[float, "upper quartile, in milliseconds"]
    peak_rss: Annotated[float, "peak memory of its process, in MiB"]
    first_step: Annotated[dict[str, float], "seconds to the first step: `found`, or `cold` and `warm` caches"]


class RatioFields(TypedDict):
    """One arm of torch beside Crucible."""

    arm: Annotated[str, "the arm"]
    time: Annotated[float, "its time over Crucible's time"]
    interval: Annotated[list[float], "the two bounds of the 95 % interval"]
    lower_quartile: Annotated[float, "the ratio of the lower quartiles"]
    memory: Annotated[float, "Crucible's peak memory over the arm's"]


class StepTimes(TypedDict):
    """A whole training step of Crucible and of torch: the record that `steps.jsonl` keeps."""

    model: Annotated[str, "the model"]
    batch: Annotated[int, "rows of a step"]
    sequence: Annotated[int, "tokens of a row"]
    threads: Annotated[int, "threads of every arm"]
    rounds: Annotated[int, "counted steps of each arm"]
    caches: Annotated[str, "the compiler caches of the rounds: `found` or `warm`"]
    kernels: Annotated[dict[str, str], "Crucible's variants"]
    arms: Annotated[list[ArmFields], "the arms"]
    ratios: Annotated[list[RatioFields], "every arm of torch beside Crucible"]
    left_out: Annotated[dict[str, str], "the arms that cannot run here, each with the reason"]
    dtype: Annotated[str, "the dtype"]
    loss_tolerance: Annotated[float, "the largest accepted relative difference of two losses"]
    commit: Annotated[str, "the revision of the project"]
    machine: Annotated[str, "the machine"]
    versions: Annotated[dict[str, str], "the libraries"]
    created: Annotated[str, "the time in UTC"]


class Equality(TypedDict):
    """Crucible's losses beside torch's, with the same weights and data."""

    kernels: Annotated[dict[str, str], "Crucible's variants"]
    losses: Annotated[list[float], "Crucible's loss of each step"]
    torch_losses: Annotated[list[float], "torch's loss of each step"]
    worst: Annotated[float, "the largest relative difference of two losses"]
    tolerance: Annotated[float, "the largest accepted difference"]
    gradients: Annotated[dict[str, float], "the worst error of each gradient of the first step over its tolerance"]
