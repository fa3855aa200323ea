"""A training run, from its settings to its result. Read `train` from top to bottom; the stages follow in its order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registry.devices import Gpu, device
from registry.enums import Device
from trainer.data.dataset import open_data
from trainer.data.loader import Loader
from trainer.data.tokenizer import END_OF_TEXT, decode
from trainer.loop import DivergedError, fit
from trainer.program.arena import require_memory
from trainer.program.program import Program
from trainer.program.warm_up import return_free_memory, warm_up
from trainer.ranks.interface import SINGLE_PROCESS
from trainer.recording import announced_start, announcement, conditions, recorder_of, recovery_hint, resumed_start
from trainer.report.console import ProgressBar
from trainer.report.machine_facts import peak_gflops
from trainer.report.result import result_of
from trainer.sampling import sample, why_no_sample
from trainer.selection.pick_faster_set import pick_faster_set
from trainer.selection.selection import open_selection
from trainer.signals import interruptible
from trainer.state import model_file
from trainer.state.resume import resumable, resume_command

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from trainer.data.dataset import Dataset
    from trainer.loop import History
    from trainer.program.arena import Plan
    from trainer.ranks.interface import Ranks
    from trainer.report.result import Result
    from trainer.selection.selection import Kernels, Selection
    from trainer.settings import Settings

__all__ = ["build", "plan", "prepare", "select", "train"]

SAMPLE_TOP_K = 40


def train(
    settings: Settings,
    say: Callable[[str], None],
    show: Callable[[Kernels, Plan], None],
    ranks: Ranks = SINGLE_PROCESS,
    folder: Path | None = None,
    *,
    resume: str | None = None,
    announced: Mapping[str, Any] | None = None,
) -> Result:
    """Train a model, save it, and sample a text.

    Parameters
    ----------
    say : callable
        Prints a line of progress, before the training starts and after it ends.
    show : callable
        Prints the chosen kernels and the memory plan, before the memory is allocated.
    ranks : Ranks
        The other processes of the run. Rank 0 chooses the kernels, prints, saves and samples.
    folder : Path, optional
        The folder of the run, into which rank 0 writes. None on the other ranks.
    resume : str, optional
        On rank 0: continue the run of `folder` from this checkpoint, such as ``step-00001000``, or from the ``newest`` one.
    announced : mapping, optional
        On the other ranks: the start of the run, which rank 0 has sent, see `announcement`.

    Raises
    ------
    RequestError
        A setting names something unknown, unproven, or not available on this machine.
    DivergedError
        A loss is not finite. The checkpoints before it stay, and the message holds the command that continues from them.
    """
    selection = select(settings, say, ranks)
    kernels, data = prepare(selection, ranks)
    show(kernels, selection.memory_plan(kernels))
    program, kernels = build(selection, kernels, data)
    facts = conditions(settings, kernels, data)
    start = resumed_start(folder, resume, program, facts, settings.updates, say) if folder and resume else None
    if ranks.rank == 0:
        ranks.broadcast_kernels(announcement(settings, kernels, folder, start))
    elif announced:
        start = announced_start(announced)
    for array in program.all_weights + (program.all_moments if start else []):
        ranks.broadcast(array)

    flops = selection.template.flops_of_update(settings.micro_steps)
    gflops = peak_gflops(selection.store, settings.threads, selection.device.kind)
    bar = ProgressBar(settings.updates, settings.tokens_per_step, flops, gflops, selection.device.kind, quiet=ranks.rank != 0)
    try:
        with (
            bar,
            interruptible(bar.say) as interrupt,
            recorder_of(folder, settings, program, kernels, facts, start, bar.say) as recorder,
        ):
            history = fit(program, data, settings, bar, interrupt, ranks, start=start, recorder=recorder)
    except DivergedError as error:
        error.args = (f"{error}; {recovery_hint(folder or settings.out, settings)}",)
        raise

    saved = _save(settings, kernels, program, history, folder) if folder else ""
    ranks.any(flag=False)  # torchrun ends all ranks when the first one ends: wait until rank 0 has saved
    if history.interrupted:
        ended = "interrupted" if history.signal == "SIGINT" else f"ended by {history.signal}"
        way = f"; continue with: {resume_command(folder)}" if folder and resumable(folder) else ""
        say(f"{ended} after step {history.steps} of {settings.updates}; saved {saved}{way}")
    no_sample = _why_no_sample(settings, history, data, ranks)
    text = "" if no_sample else _sample(settings, program)
    return result_of(
        settings,
        history,
        kernels=kernels.names(),
        unigram_entropy=data.unigram_entropy,
        flops=flops,
        peak_gflops=gflops,
        sample=text,
        no_sample=no_sample,
        saved=saved,
    )


def plan(settings: Settings, say: Callable[[str], None], ranks: Ranks = SINGLE_PROCESS) -> tuple[Kernels, Plan]:
    """Return the kernels and the memory plan of a run without training. The numpy reference replaces missing champions."""
    selection = select(settings, say, ranks)
    selection.prove_on_gpu()
    kernels = selection.choose_without_racing()
    return kernels, selection.memory_plan(kernels)


def select(settings: Settings, say: Callable[[str], None], ranks: Ranks = SINGLE_PROCESS) -> Selection:
    """Find the device, the variants, the records and the calls of the step. No kernel is chosen yet.

    Raises
    ------
    RequestError
        The device is not available, ``--kernels`` cannot be read, or the file of a variant that it names cannot be loaded.
    """
    place = device(settings.device)
    ranks.check(place.kind)
    if isinstance(place, Gpu):
        place.take(ranks.local_rank, ranks.local_count, graphs=settings.cuda_graph, say=say)
    return open_selection(settings, place, say)


def prepare(selection: Selection, ranks: Ranks = SINGLE_PROCESS) -> tuple[Kernels, Dataset]:
    """Choose the kernels and open the data.

    Rank 0 proves and races the variants that have no record, and compares the chosen variants with the reference at the shapes
    of this run. The settings of the other ranks name the kernels that rank 0 chose. The function reports a mistake in the
    request before a race, which takes minutes.
    """
    settings, decides = selection.settings, ranks.rank == 0
    if decides:
        selection.prove_on_gpu()
    kernels = selection.choose()
    plan = selection.memory_plan(kernels)
    copy = 0 if isinstance(selection.device, Gpu) else plan.state_bytes  # a GPU's state is copied to the memory of the CPU
    require_memory(plan, selection.device, ranks.local_count, copy)
    data = open_data(settings.data, batch=settings.B * settings.ranks, sequence=settings.T, announce=selection.say)
    if decides and selection.race_missing():
        kernels = selection.choose()
    if decides:
        kernels = selection.right_at_shapes(kernels)
    return kernels, data


def build(selection: Selection, kernels: Kernels, data: Dataset) -> tuple[Program, Kernels]:
    """Compile the kernels, allocate the memory, set the initial weights, and settle for one set of kernels."""
    settings, place = selection.settings, selection.device
    if place.kind == Device.CPU:
        warm_up(selection.table, settings.model, kernels.sets, place, settings.threads, settings.dtype, selection.say)
        return_free_memory()
    program = Program(selection.template, kernels.variants, place, settings.threads, kernels.sets[1:])
    program.initialise(settings.seed)
    if kernels.alternative:
        program.load(*Loader(data.train, settings.B, settings.T).next_batch())
        kernels = pick_faster_set(program, kernels, selection.say)
    return program, kernels


def _save(settings: Settings, kernels: Kernels, program: Program, history: History, folder: Path) -> str:
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
        "val_loss": history.val_loss[-1] if history.steps in history.val_steps else None,
        "kernels": kernels.names(),
    }
    return str(model_file.save(folder, settings.model, program.cpu_parameters(), about))


def _why_no_sample(settings: Settings, history: History, data: Dataset, ranks: Ranks) -> str:
    if ranks.rank != 0:
        return "rank 0 samples"
    if history.interrupted:
        return "the run was interrupted"
    return why_no_sample(history.val_loss[-1], data.unigram_entropy, history.steps, settings.recipe.steps)


def _sample(settings: Settings, program: Program) -> str:
    ids = sample(
        program.next_logits,
        [END_OF_TEXT],
        settings.sample_tokens,
        settings.seed,
        top_k=SAMPLE_TOP_K,
        vocabulary=settings.model.vocabulary,
    )
    return decode(ids)
