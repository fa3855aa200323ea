"""A run from settings to result: choose kernels, plan memory, train, sample, save."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registry.devices import Gpu, device
from registry.machine import machine_key
from registry.records import Store
from registry.table import discover
from trainer import checkpoint
from trainer.assemble import commands, make_champions, proofs_on
from trainer.data import Loader, open_data
from trainer.kernel_request import parse_kernels
from trainer.kernel_set import Choice, Chooser
from trainer.loop import History, fit, interruptible
from trainer.machine_facts import peak_gflops, peak_rss_mib
from trainer.program import Outline, Program
from trainer.ranks import ALONE
from trainer.report import ProgressBar
from trainer.sampling import sample
from trainer.shape_checks import found_wrong, report_replaced
from trainer.tokenizer import END_OF_TEXT, decode
from trainer.trial import difference, step_seconds
from trainer.warm_up import give_back, warm_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry.comparison import Comparison
    from registry.variant import Variant
    from trainer.arena import Plan
    from trainer.data import Dataset
    from trainer.kernel_request import Need
    from trainer.ranks import Ranks
    from trainer.settings import Settings

__all__ = ["Result", "Session"]

SAMPLE_TOP_K = 40
GRAPH, LAUNCHES = "cuda-graph", "cuda-cold"  # how kernels are raced that are going to be replayed, or launched one by one


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a run did.

    Attributes
    ----------
    ranks : int
        How many processes trained it together.
    kernels : dict of str to str
        ``op`` to variant, or ``op/label`` where an op's calls have different ones: what ``--kernels`` takes.
    train_loss, val_loss : list of float
        Per update; and before, during and after.
    unigram_entropy : float
        Loss of a model that knows how frequent each token is and nothing else.
    """

    model: str
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
    saved: str
    interrupted: bool

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return dataclasses.asdict(self)


class Session:
    """One run.

    Parameters
    ----------
    say : callable
        Told, line by line, what happens before the training starts and after it ends.
    ranks : Ranks
        Rank 0 proves, races, chooses, saves and samples; the settings of the others name the kernels that it chose.
    """

    def __init__(self, settings: Settings, say: Callable[[str], None], ranks: Ranks = ALONE) -> None:
        self.settings, self.say, self.ranks = settings, say, ranks
        self.device = device(settings.device)
        ranks.check(self.device.name)
        if isinstance(self.device, Gpu):
            self.device.take(ranks.local_rank, ranks.local_count, graphs=settings.cuda_graph, say=say)
        self.request = parse_kernels(settings.kernels)
        self.table = discover(*settings.kernels_path)
        self.store = Store(settings.results, machine_key(self.device.name))
        shape = settings.B, settings.T, settings.micro_steps, settings.ranks, settings.dtype
        self.outline = Outline(self.table, settings.model, *shape)
        self.choices: dict[Need, Choice] = {}
        self.rival: dict[Need, Choice] | None = None
        self._data: Dataset | None = None

    @property
    def variants(self) -> dict[Need, Variant]:
        """The chosen variants."""
        return {need: choice.variant for need, choice in self.choices.items()}

    def kernels(self) -> dict[str, str]:
        """Return the chosen names, by op, or by op and label where an op's calls differ."""
        per_op: dict[str, set[str]] = {}
        for (op, _), variant in self.variants.items():
            per_op.setdefault(op, set()).add(variant.name)
        return {op if len(per_op[op]) == 1 else f"{op}/{label}": variant.name for (op, label), variant in self.variants.items()}

    def plan(self) -> Plan:
        """Return the memory plan of the chosen variants, and of those that a trial may choose instead."""
        return self.outline.plan(self.settings.threads, self.variants, *self._others)

    @property
    def _others(self) -> list[dict[Need, Variant]]:
        return [{need: choice.variant for need, choice in self.rival.items()}] if self.rival else []

    @property
    def data(self) -> Dataset:
        """The tokens to train on, once `prepare` opened them."""
        if self._data is None:
            raise RuntimeError("prepare(race=True) comes first")
        return self._data

    def program(self) -> Program:
        """Return the program with its memory and fresh weights, after a trial if there is a rival set of kernels.

        From here on the ranks go together.
        """
        settings = self.settings
        if self.device.name == "host":
            sets = [self.variants, *self._others]
            warm_up(self.table, settings.model, sets, self.device, settings.threads, settings.dtype, self.say)
            give_back()
        made = Program(self.outline, self.variants, self.device, settings.threads, self._others)
        made.initialise(settings.seed)
        if self.rival:
            self._try(made, self.rival)
        if self.ranks.rank == 0:
            self.ranks.tell(",".join(f"{call}={variant}" for call, variant in self.kernels().items()))
        for weights in made.all_weights:
            self.ranks.share(weights)
        return made

    def _try(self, program: Program, rival: dict[Need, Choice]) -> None:
        """Keep the set of kernels with which real steps are faster."""
        program.load(*Loader(self.data.train, self.settings.B, self.settings.T).next_batch())
        champions, one_pool = step_seconds(program, [self.variants, *self._others])
        times = f"a step takes {1e3 * champions:.0f} ms with the champions and {1e3 * one_pool:.0f} ms with one thread pool"
        if one_pool < champions:
            self.say(f"{times}: {difference(self.choices, rival)}")
            self.choices = rival
        else:
            self.say(f"{times}; the champions stay")
        self.rival = None
        program.use(self.variants)

    def prepare(self, *, race: bool) -> None:
        """Check data and folder, then choose kernels.

        Parameters
        ----------
        race : bool
            Prove and race first where champions are missing; otherwise the definition stands in for them.
        """
        for failed in self.table.unloadable:
            self.say(f"not loadable: {failed.path}: {failed.reason}")
        chooser = self._chooser()
        if self.ranks.rank:
            self._choose(chooser)
            self._open_data()
            return
        if lacking := chooser.unproven_on_gpu():
            self.say(
                f"nothing proven on device {self.device.name!r} for {', '.join(lacking)}: proving CUDA variants first (once)"
            )
            settings = self.settings
            wanted = proofs_on(self.device.name, lacking, results=settings.results, kernels_path=settings.kernels_path)
            make_champions(wanted, self.say)
            chooser = self._chooser()
        missing = chooser.without_champion(self.request)
        if missing and self.device.name == "cuda":
            dtype = "" if self.settings.dtype == "float32" else f" --dtype {self.settings.dtype}"
            every = f"; race them with: python -m harness.bench --device cuda{dtype}"
            self.say(f"not raced on this GPU, so the highest proven rung is taken: {', '.join(missing)}{every}")
            missing = []
        if not race:
            stand_ins = dict.fromkeys(missing, "numpy")
            if missing:
                self.say(f"no champion yet, planned with the plain definition: {', '.join(missing)}")
            request = dataclasses.replace(self.request, overrides={**stand_ins, **self.request.overrides})
            self.choices = chooser.choose(request)
            return
        checkpoint.check_writable(self.settings.folder)
        if not missing:
            self._choose(chooser)
        self._open_data()  # whatever is wrong with the request is said before the minutes that a race takes
        if missing:
            self._race(chooser, missing)
            self._choose(self._chooser())
        while wrong := self._found_wrong():
            self._choose(self._chooser())
            report_replaced(wrong, self.say)

    def _found_wrong(self) -> list[Comparison]:
        sets = [self.variants, *self._others]
        return found_wrong(self.outline, self.store, self.settings, self.device.name, sets, self.say)

    def _open_data(self) -> None:
        settings = self.settings
        self._data = open_data(settings.data, batch=settings.B * settings.ranks, sequence=settings.T, announce=self.say)

    def _chooser(self) -> Chooser:
        protocol = GRAPH if self.settings.cuda_graph else LAUNCHES
        return Chooser(self.table, self.store, self.outline, self.settings.threads, self.device.name, protocol)

    def _choose(self, chooser: Chooser) -> None:
        self.choices = chooser.choose(self.request)
        self.rival = chooser.one_pool(self.request, self.choices)

    def _race(self, chooser: Chooser, missing: list[str]) -> None:
        self.say(f"no champion on this machine for {', '.join(missing)}: proving and racing their variants first (once)")
        wanted = commands(
            missing,
            chooser.unproven(missing),
            every_op=set(missing) == {op for op, _ in chooser.needs},
            step=chooser.step,
            threads=self.settings.threads,
            results=self.settings.results,
            kernels_path=self.settings.kernels_path,
        )
        make_champions(wanted, self.say)

    def train(self) -> Result:
        """Train, save and sample.

        Raises
        ------
        DivergedError
            The loss is not finite any more; nothing is saved.
        """
        settings, data, program, leads = self.settings, self.data, self.program(), self.ranks.rank == 0
        gflops, flops = peak_gflops(self.store, settings.threads), self.outline.flops_of_update(settings.micro_steps)
        with (
            ProgressBar(settings.updates, settings.tokens_per_step, flops, gflops, quiet=not leads) as bar,
            interruptible(bar.say) as interrupt,
        ):
            history = fit(program, data, settings, bar, interrupt, self.ranks)
        saved = self._save(program, history) if leads else ""
        if history.interrupted:
            self.say(f"interrupted after step {history.steps} of {settings.updates}; saved {saved}")
        seconds = sum(history.settled_seconds) / len(history.settled_seconds)
        return Result(
            model=settings.model.name,
            dtype=settings.dtype,
            steps=history.steps,
            ranks=settings.ranks,
            kernels=self.kernels(),
            train_loss=history.train_loss,
            val_loss=history.val_loss,
            val_steps=history.val_steps,
            unigram_entropy=data.unigram_entropy,
            tokens_per_second=settings.tokens_per_step / seconds,
            step_ms_median=history.median_ms,
            share_of_roofline=flops / seconds / 1e9 / gflops if gflops else None,
            peak_rss_mib=peak_rss_mib(),
            sample=self._sample(program) if leads and not history.interrupted else "",
            saved=saved,
            interrupted=history.interrupted,
        )

    def _save(self, program: Program, history: History) -> str:
        settings = self.settings
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
            "kernels": self.kernels(),
        }
        return str(checkpoint.save(settings.folder, settings.model, program.host_parameters(), about))

    def _sample(self, program: Program) -> str:
        settings = self.settings
        ids = sample(
            program.next_logits,
            [END_OF_TEXT],
            settings.sample_tokens,
            settings.seed,
            top_k=SAMPLE_TOP_K,
            vocabulary=settings.model.vocabulary,
        )
        return decode(ids)
