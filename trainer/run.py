"""``python -m trainer.run``: assemble the fastest proven kernels and train a GPT-2 with them."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from registry.cli import INTERRUPTED, add_kernels_path, guarded, wide_console
from registry.devices import DEVICES
from registry.errors import DONE
from registry.machine import thread_count
from registry.models import find_model
from registry.records import RESULTS
from trainer.report import choices_table, plan_table
from trainer.session import Session
from trainer.settings import DEFAULT_MODEL, Settings

if TYPE_CHECKING:
    from trainer.session import Result

__all__ = ["main", "parser"]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(prog="python -m trainer.run", description=__doc__)
    add = made.add_argument
    add("--kernels", default="best", metavar="SET", help="best, numpy, numba, cuda, op=variant,... or FILE.toml (default best)")
    add("--model", default=DEFAULT_MODEL, help="gpt2-nano to gpt2-1558m, d6 to d60 (default: %(default)s)")
    add("--data", default="embedded", help="embedded, tinyshakespeare, a text file or a glob (default: %(default)s)")
    add("--batch", type=int, metavar="B", help="rows of a micro-step")
    add("--sequence", type=int, metavar="T", help="tokens of a row")
    add("--total-batch", type=int, metavar="TOKENS", help="tokens of an update, by accumulating gradients (default: B x T)")
    add("--steps", type=int, metavar="N", help="updates")
    add("--learning-rate", type=float, metavar="RATE", help="peak of the schedule")
    add("--threads", type=int, default=thread_count(), metavar="N", help="CPU threads (default: %(default)s)")
    add("--device", default="cpu", metavar="|".join(DEVICES), help="where to run (default: %(default)s)")
    add("--out", type=Path, metavar="DIR", help="where the model is saved (default: out/MODEL)")
    add("--seed", type=int, default=42, help="of the initial weights and of the sample (default: %(default)s)")
    add("--plan", action="store_true", help="print memory and kernels, and stop")
    add("--explain", action="store_true", help="say more about why each kernel was chosen")
    add("--json", action="store_true", help="one JSON document on standard output")
    add("--results", type=Path, default=RESULTS, metavar="DIR", help="the folder of records")
    add_kernels_path(made)
    return made


def settings_of(options: argparse.Namespace) -> Settings:
    """Return the settings that the options ask for."""
    same = ("kernels", "data", "batch", "sequence", "total_batch", "steps", "learning_rate", "threads", "device", "out", "seed")
    given = {name: getattr(options, name) for name in (*same, "results")}
    return Settings(model=find_model(options.model), kernels_path=tuple(options.kernels_path), **given)


def main(argv: list[str] | None = None) -> int:
    """Train; return an exit code."""
    options = parser().parse_args(argv)

    def body() -> int:
        settings = settings_of(options)
        told = Console(stderr=True)
        session = Session(settings, lambda text: told.print(text, highlight=False, markup=False, soft_wrap=True))
        console = told if options.json else wide_console()
        session.prepare(race=not options.plan)
        console.print(choices_table(session.choices, explain=options.explain))
        console.print(plan_table(session.plan()))
        if options.plan:
            if options.json:
                _answer({"model": settings.model.name, "kernels": session.kernels(), "plan_mib": dict(session.plan().rows())})
            return DONE
        result = session.train()
        if options.json:
            _answer(result.to_json())
        else:
            _show(console, result)
        return INTERRUPTED if result.interrupted else DONE

    return guarded(body)


def _answer(document: dict[str, object]) -> None:
    print(json.dumps(document))  # noqa: T201 (a command line answers)


def _show(console: Console, result: Result) -> None:
    before, after = result.val_loss[0], result.val_loss[-1]
    speed = f"{result.tokens_per_second:,.0f} tokens/s, {result.step_ms_median:.0f} ms per step (median)"
    share = f", {result.share_of_roofline:.0%} of roofline" if result.share_of_roofline else ""
    lines = [
        f"{result.steps} steps, {speed}{share}, {result.peak_rss_mib:,.0f} MiB at most",
        f"validation loss {before:.3f} -> {after:.3f}; unigram entropy of the text {result.unigram_entropy:.3f}",
        f"saved {result.saved}",
    ]
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)
    if result.sample:
        console.rule("sample")
        console.print(result.sample, highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
