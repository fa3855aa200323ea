"""Compare the chosen variants with the reference at the shapes of this run, before its first update.

A proof speaks for the sizes that it asked. This module finds out which calls of this run have no comparison on record, has
``python -m harness.check_shapes`` make it as a child process, and reads the outcome. Nothing of the harness is imported here.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.cli import INTERRUPTED
from registry.comparison import NOT_COMPARED, Comparison, call_key
from registry.errors import DONE, FAILED, CrucibleError, EvidenceError
from registry.table import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from registry.op import Op
    from registry.records import Store
    from registry.variant import Variant
    from trainer.kernel_request import Need
    from trainer.program import Outline
    from trainer.settings import Settings

__all__ = ["Comparisons", "ShapedCall", "complaint", "found_wrong", "refuse", "report_replaced", "shaped_calls"]

MOST_SIMULATED_FLOPS = 2e9  # of all calls together: about half a minute in the simulator


@dataclass(frozen=True)
class ShapedCall:
    """One call that a run makes: an op at given dims, with given parameters.

    Attributes
    ----------
    need : tuple of str
        The op and the label for which a variant is chosen.
    params : mapping
        All parameters of the op. Those that are known only when the step runs, such as the learning rate, have a sample value.
    """

    need: Need
    op: Op
    dims: Mapping[str, int]
    params: Mapping[str, Any]
    dtype: str

    def key(self, variant: Variant, threads: int) -> str:
        """Return what identifies this call of a variant among the records."""
        return call_key(self.op.name, variant.name, self.dims, self.params, self.dtype, threads)

    def request(self, variant: Variant) -> dict[str, Any]:
        """Return the call of a variant as ``harness.check_shapes --calls`` reads it."""
        return {
            "op": self.op.name,
            "variant": variant.name,
            "dims": dict(self.dims),
            "params": dict(self.params),
            "dtype": self.dtype,
        }


def shaped_calls(outline: Outline) -> list[ShapedCall]:
    """Return the calls of a run that differ in op, label, dims or parameters: of its steps and of the text it samples."""
    more = outline.backward_more if outline.micro_steps > 1 else []
    found: dict[tuple[Need, str], ShapedCall] = {}
    for call in [*outline.step, *more, *outline.generate]:
        samples = {name: values[-1] for name, values in call.op.params.items() if not isinstance(values, str)}
        params = {**samples, **call.op.bound_params(call.dims), **call.params}
        need = call.op.name, call.label
        shaped = ShapedCall(need, call.op, dict(call.dims), params, call.dtype)
        found.setdefault((need, json.dumps([shaped.dims, params], sort_keys=True)), shaped)
    return list(found.values())


class Comparisons:
    """The comparisons on record that speak of the calls of one outline.

    Parameters
    ----------
    device : {"host", "sim", "cuda"}
    threads : int
        CPU threads of the run: a variant may divide its work by their number.
    """

    def __init__(self, store: Store, outline: Outline, device: str, threads: int) -> None:
        self.threads = threads
        self.calls = shaped_calls(outline)
        self._newest = {one.key: one for one in store.comparisons() if one.device == device}

    def of(self, call: ShapedCall, variant: Variant) -> Comparison | None:
        """Return the newest comparison of a call of a variant as it is now; None if there is none."""
        found = self._newest.get(call.key(variant, self.threads))
        return found if found is not None and found.is_fresh(variant) else None

    def wrong(self, need: Need, variant: Variant) -> Comparison | None:
        """Return a comparison that found `variant` wrong at a shape for which it would be chosen."""
        known = (self.of(call, variant) for call in self.calls if call.need == need)
        return next((one for one in known if one is not None and one.is_failed), None)

    def pairs(self, sets: Iterable[Mapping[Need, Variant]]) -> Iterator[tuple[ShapedCall, Variant]]:
        """Yield each call with each variant chosen for it, once; the reference itself is left out."""
        seen: set[str] = set()
        for call in self.calls:
            for variant in (chosen[call.need] for chosen in sets):
                key = call.key(variant, self.threads)
                if variant.is_reference or variant.refusals(call.dims, call.params, call.dtype):
                    continue  # the program says which call a variant refuses
                if key not in seen:
                    seen.add(key)
                    yield call, variant


def found_wrong(
    outline: Outline,
    store: Store,
    settings: Settings,
    device: str,
    sets: Sequence[Mapping[Need, Variant]],
    say: Callable[[str], None],
) -> list[Comparison]:
    """Compare the calls of the chosen variants that have no comparison on record; return those that found a variant wrong.

    If there are any, the kernels have to be chosen again: `trainer.kernel_set.Chooser` reads the records, and raises for a
    variant that was asked for by name.

    Raises
    ------
    CrucibleError
        The comparison could not be made; its own message stands above.
    KeyboardInterrupt
        It was interrupted.
    """
    known = Comparisons(store, outline, device, settings.threads)
    pairs = list(known.pairs(sets))
    missing = [(call, variant) for call, variant in pairs if known.of(call, variant) is None]
    if device == "sim":
        missing = _affordable(missing, say)
    if missing:
        began = time.monotonic()
        _compare(missing, settings, device)
        known = Comparisons(store, outline, device, settings.threads)
        if absent := [str(variant) for call, variant in missing if known.of(call, variant) is None]:
            raise CrucibleError(f"harness.check_shapes kept no comparison of {', '.join(sorted(set(absent)))}")
        seconds = time.monotonic() - began
        calls = "1 call" if len(missing) == 1 else f"{len(missing)} calls"
        say(f"compared {calls} with the reference at their own shapes in {seconds:.1f} s (once)")
    found = [one for call, variant in pairs if (one := known.of(call, variant)) is not None]
    for one in found:
        if one.status == NOT_COMPARED:
            say(f"not compared with the reference: {one.op}/{one.variant} at {one.shape}: {one.message}")
    return [one for one in found if one.is_failed]


def report_replaced(wrong: Iterable[Comparison], say: Callable[[str], None]) -> None:
    """Say which variants were wrong, after others have been chosen in their place."""
    for one in wrong:
        say(f"{complaint(one)}; another variant is chosen")


def complaint(one: Comparison) -> str:
    """Return in one line which variant is wrong at which shape, its worst element, and the command that shows it."""
    message = " ".join(one.message.split())
    where = f"at the shape of this run, {one.shape} (gate {one.gate!r})"
    return f"{one.op}/{one.variant} {one.status} {where}: {message}; see: {one.reproduce}"


def refuse(one: Comparison, instead: str) -> EvidenceError:
    """Return the error for a variant that was asked for by name and is wrong at the shape of this run."""
    return EvidenceError(f"{complaint(one)}; leave it out with: --kernels best,{one.op}={instead}")


def _affordable(missing: list[tuple[ShapedCall, Variant]], say: Callable[[str], None]) -> list[tuple[ShapedCall, Variant]]:
    """Return the calls that the simulator can make in about half a minute, the smallest first; say which ones are left out."""
    ordered = sorted(missing, key=lambda pair: float(pair[0].op.flops(**pair[0].dims)))
    total, taken = 0.0, []
    for call, variant in ordered:
        total += float(call.op.flops(**call.dims))
        if total <= MOST_SIMULATED_FLOPS:
            taken.append((call, variant))
    if left := sorted({str(variant) for _, variant in ordered[len(taken) :]}):
        say(f"not compared with the reference at the shapes of this run, too slow in the simulator: {', '.join(left)}")
    return taken


def _compare(missing: Iterable[tuple[ShapedCall, Variant]], settings: Settings, device: str) -> None:
    """Have the harness compare the calls; the outcomes are on record afterwards."""
    with tempfile.TemporaryDirectory(prefix="crucible-") as folder:
        calls = Path(folder) / "calls.json"
        calls.write_text(json.dumps([call.request(variant) for call, variant in missing]))
        command = ["harness.check_shapes", "--calls", str(calls), "--threads", str(settings.threads)]
        command += ["--results", str(settings.results.absolute()), "--device", "cpu" if device == "host" else device]
        command += [word for path in settings.kernels_path for word in ("--kernels-path", str(path.absolute()))]
        done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
    if done.returncode == INTERRUPTED:
        raise KeyboardInterrupt
    if done.returncode not in {DONE, FAILED}:
        how = f"was ended by signal {-done.returncode}" if done.returncode < 0 else "did not succeed; its message stands above"
        raise CrucibleError(f"{shlex.join(['python', '-m', *command])} {how}")
