"""``python -m trainer.run``: assemble the fastest proven kernels and train a GPT-2 with them.

``torchrun --nproc-per-node N -m trainer.run`` trains with N processes. Each process has its own --batch rows and, with
--device cuda, its own GPU.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING, Any

import models
from registry.cli import add_kernels_path, add_results, wide_console
from registry.command_parser import CommandParser
from registry.dtypes import DTYPES
from registry.enums import Device
from registry.errors import DONE, INTERRUPTED, CrucibleError, RequestError, TerminatedError, signal_code
from registry.machine import thread_count
from registry.output import Output, print_output
from trainer import session
from trainer.data.corpus import absolute_data
from trainer.ranks.process_group import joined
from trainer.report.console import LastingConsole, choices_table, plan_table
from trainer.settings import DEFAULT_MODEL, Settings
from trainer.signals import terminable
from trainer.state.output_folder import OUT, output_folder
from trainer.state.resume import NEWEST, chosen_step, newest_run, require_steps
from trainer.state.run_file import RunFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from registry.documents import training as documents
    from trainer.program.arena import Plan
    from trainer.ranks.interface import Ranks
    from trainer.report.result import Result
    from trainer.selection.selection import Kernels

__all__ = ["main", "parser"]


def _as_folder(text: str) -> Path:
    """Return the folder of ``--out``. An empty text, of an unset variable of the shell, would be the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("'' names no folder; leave the option out for out/MODEL")
    return Path(text)


def _as_step(text: str) -> str:
    """Return the name of a checkpoint. An empty text, of an unset variable of the shell, would begin a new run."""
    if not text:
        raise argparse.ArgumentTypeError("'' names no checkpoint; leave the value out for the newest one")
    return text


def parser(defaults: Mapping[str, Any] | None = None) -> CommandParser:
    """Return the command line.

    Parameters
    ----------
    defaults : mapping, optional
        Values of options that are not given, such as the options of a run that is resumed.
    """
    options = CommandParser(
        prog="python -m trainer.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = options.add_argument
    add("--kernels", default="best", metavar="SET", help="best, numpy, numba, cuda, op=variant,... or FILE.toml (default best)")
    add("--model", default=DEFAULT_MODEL, help="gpt2-nano to gpt2-1558m, d6 to d60 (default: %(default)s)")
    add("--data", default="embedded", help="embedded, tinyshakespeare, a text file or a glob (default: %(default)s)")
    add("--batch", type=int, metavar="B", help="rows of a micro-step")
    add("--sequence", type=int, metavar="T", help="tokens of a row")
    add("--total-batch", type=int, metavar="TOKENS", help="tokens of an update, by accumulating gradients (default: B x T x N)")
    add("--steps", type=int, metavar="N", help="updates")
    add("--learning-rate", type=float, metavar="RATE", help="peak of the schedule")
    add("--threads", type=int, metavar="N", help="CPU threads of each process (default: all cores, shared among processes)")
    add("--device", default=Device.CPU, metavar="|".join(Device), help="where to run (default: %(default)s)")
    add(
        "--cuda-graph",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="on device cuda, capture the calls once and launch them together",
    )
    add(
        "--out",
        type=_as_folder,
        metavar="DIR",
        help="the folder of the run (default: out/MODEL or a numbered folder beside it)",
    )
    add(
        "--resume",
        type=_as_step,
        nargs="?",
        const=NEWEST,
        metavar="STEP",
        help="continue the run in --out (default: the newest run), from its newest checkpoint or from STEP (step-00001000)",
    )
    add("--checkpoint-every", type=int, metavar="N", help="updates between checkpoints")
    add("--checkpoint-minutes", type=float, metavar="M", help="minutes between checkpoints (default: 10, and at the end)")
    add("--keep", type=int, default=2, metavar="K", help="number of the newest checkpoints that stay (default: %(default)s)")
    add("--keep-every", type=int, metavar="N", help="checkpoints after a multiple of N updates stay, too")
    add("--dtype", default="float32", metavar="|".join(DTYPES), help="storage type; sums are float32 (default: %(default)s)")
    add("--seed", type=int, default=42, help="seed of initial weights, batches and sample (default: %(default)s)")
    add("--plan", action="store_true", help="print memory and kernels, and stop")
    add("--explain", action="store_true", help="print more about the choice of each kernel")
    add_results(options)
    add_kernels_path(options)
    options.set_defaults(**(defaults or {}))
    return options


def settings_of(options: argparse.Namespace, ranks: Ranks) -> Settings:
    """Return the settings of the options. Without ``--threads``, the ranks of a machine share its cores."""
    shape = ("batch", "sequence", "total_batch", "steps", "learning_rate", "device", "dtype", "seed", "cuda_graph")
    saved = ("checkpoint_every", "checkpoint_minutes", "keep", "keep_every")
    given = {name: getattr(options, name) for name in ("kernels", "out", "results", *shape, *saved)}
    threads = max(1, thread_count() // ranks.local_count) if options.threads is None else options.threads
    path = tuple(options.kernels_path)
    return Settings(
        model=models.find(options.model),
        data=absolute_data(options.data),
        kernels_path=path,
        threads=threads,
        ranks=ranks.count,
        **given,
    )


def as_defaults(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of options that were stored as data, as the parser would return them."""
    values = {name: value for name, value in stored.items() if name != "ranks"}
    for name in ("results", "out"):
        values[name] = Path(values[name]) if values.get(name) else None
    values["kernels_path"] = [Path(path) for path in values["kernels_path"]]
    return values


def resumed_options(argv: list[str] | None, options: argparse.Namespace, ranks: Ranks) -> argparse.Namespace:
    """Return the options of a run that continues: those of its ``settings.toml``, and over them those of the command line.

    With another number of ranks, the rows of each change so that a micro-step keeps its rows, if they can be divided.

    Raises
    ------
    RequestError
        There is no such run, or the command line asks for another model, dtype or seed.
    """
    folder = options.out or newest_run(OUT)
    run = RunFile.read(folder)
    stored = as_defaults(run.settings)
    stored["kernels"] = ",".join(f"{call}={variant}" for call, variant in run.kernels.items())
    rows, rest = divmod(stored["batch"] * run.settings["ranks"], ranks.count)
    stored["batch"] = stored["batch"] if rest else rows
    if stored["threads"] * ranks.local_count > thread_count() or run.settings["ranks"] != ranks.count:
        stored["threads"] = None
    chosen = parser(stored).parse_args(argv)
    for name in ("model", "dtype", "seed"):
        if getattr(chosen, name) != stored[name]:
            value = getattr(chosen, name)
            raise RequestError(f"--{name} {value}: the run in {str(folder)!r} has {name} {stored[name]}; leave --{name} out")
    require_steps(folder, chosen_step(folder, chosen.resume), chosen.steps)  # before kernels are compiled
    chosen.out = folder
    return chosen


def main(argv: list[str] | None = None) -> int:
    """Train; return an exit code."""

    def body() -> Output:
        with terminable(), joined() as ranks:
            return _run(argv, ranks)

    return print_output(parser().module, body, argv)


def _run(argv: list[str] | None, ranks: Ranks) -> Output:
    """Run as one of the ranks. Of all ranks, one prints an error or an interruption."""
    try:
        return _follow(ranks) if ranks.rank else _lead(argv, ranks)
    except CrucibleError as error:
        if not ranks.is_first_failure():
            raise SystemExit(error.exit_code) from None  # another rank prints its error
        if ranks.count > 1:
            error.args = (f"rank {ranks.rank}: {error}",)
        raise
    except KeyboardInterrupt as error:
        if ranks.rank:
            code = error.exit_code if isinstance(error, TerminatedError) else INTERRUPTED
            raise SystemExit(code) from None  # rank 0 prints the message
        raise


def _lead(argv: list[str] | None, ranks: Ranks) -> Output:
    """Plan or train as rank 0, which decides and prints."""
    options = parser().parse_args(argv)
    if options.resume is not None:
        options = resumed_options(argv, options, ranks)
    settings = settings_of(options, ranks)
    console = wide_console()

    def show(kernels: Kernels, plan: Plan) -> None:
        console.print(choices_table(kernels.choices, explain=options.explain))
        console.print(plan_table(plan))

    if options.plan:
        kernels, plan = session.plan(settings, _say, ranks)
        show(kernels, plan)
        planned: documents.Planned = {
            "model": settings.model.name,
            "kernels": kernels.names(),
            "plan_mib": dict(plan.rows()),
        }
        return Output(planned)
    resumed = options.resume is not None
    with output_folder(settings.out, settings.model.name, _say, resumed=resumed) as folder:
        result = session.train(settings, _say, show, ranks, folder, resume=options.resume)
    return Output(result.to_json(), lambda: _show(console, result), _exit_code(result))


def _follow(ranks: Ranks) -> Output:
    """Train with the kernels that rank 0 chose, without output. Rank 0 has already checked the request."""
    if not (message := ranks.receive_kernels()):
        return Output(None)
    announced = json.loads(message)
    options = parser(as_defaults(announced["options"])).parse_args([])
    result = session.train(settings_of(options, ranks), lambda _: None, lambda *_: None, ranks, announced=announced)
    return Output(None, code=_exit_code(result))


def _exit_code(result: Result) -> int:
    return signal_code(Signals[result.signal]) if result.interrupted else DONE


def _say(text: str) -> None:
    LastingConsole(stderr=True).print(text, highlight=False, markup=False, soft_wrap=True)


def _show(console: Console, result: Result) -> None:
    before, after = result.val_loss[0], result.val_loss[-1]  # a run validates after its last step
    speed = f"{result.tokens_per_second:,.0f} tokens/s, {result.step_ms_median:.0f} ms per step (median)"
    where = " in the simulator, which says nothing about a GPU's speed" if result.device == Device.SIM else ""
    share = f", {result.share_of_roofline:.0%} of roofline" if result.share_of_roofline else ""
    together = f" of {result.ranks} ranks" if result.ranks > 1 else ""
    lines = [
        f"{result.steps} steps{together}, {speed}{where}{share}, {result.peak_rss_mib:,.0f} MiB at most",
        f"validation loss {before:.3f} -> {after:.3f}; unigram entropy of the text {result.unigram_entropy:.3f}",
        f"saved {result.saved}",
    ]
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)
    if result.sample:
        console.rule("sample")
        console.print(result.sample, highlight=False, markup=False, soft_wrap=True)
    else:
        console.print(f"no sample: {result.no_sample}", highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
