"""Compare the chosen variants with the reference at the shapes of this run, before its first update.

A proof covers only the sizes of its problems. This module finds the calls of this run without a recorded comparison, starts
``python -m harness.check_shapes`` as a child process to make the comparisons, and reads their records. It does not import the
harness.
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.commands import Folders, pasted
from registry.comparison import Comparison
from registry.comparison import call_key as comparison_key
from registry.enums import Device, Status
from registry.errors import DONE, FAILED, CrucibleError, EvidenceError
from trainer.selection.child import run_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from registry.op import Op
    from registry.records import Store
    from registry.variant import Variant
    from trainer.program.template import CallKey, StepTemplate
    from trainer.settings import Settings

__all__ = ["Comparisons", "ShapedCall", "complaint", "refuse", "shaped_calls", "wrong_at_shapes"]

MOST_SIMULATED_FLOPS = 2e9  # of all compared calls: about half a minute in the simulator


@dataclass(frozen=True)
class ShapedCall:
    """One call of a run: an op at given dims, with given parameters.

    Attributes
    ----------
    call_key : tuple of str
        Op and label, for which the run chooses a variant.
    params : mapping
        All parameters of the op. Parameters that are known only at run time, such as the learning rate, have sample values.
    """

    call_key: CallKey
    op: Op
    dims: Mapping[str, int]
    params: Mapping[str, Any]
    dtype: str

    def record_key(self, variant: Variant, threads: int) -> str:
        """Return the key of this call of a variant among the recorded comparisons."""
        return comparison_key(self.op.name, variant.name, self.dims, self.params, self.dtype, threads)

    def request(self, variant: Variant) -> dict[str, Any]:
        """Return the call of a variant as ``harness.check_shapes --calls`` reads it."""
        return {
            "op": self.op.name,
            "variant": variant.name,
            "dims": dict(self.dims),
            "params": dict(self.params),
            "dtype": self.dtype,
        }


def shaped_calls(template: StepTemplate) -> list[ShapedCall]:
    """Return the calls of the training steps and of sampling that differ in op, label, dims or parameters."""
    more = template.backward_more if template.micro_steps > 1 else []
    calls: dict[tuple[CallKey, str], ShapedCall] = {}
    for call in [*template.step, *more, *template.generate]:
        samples = {name: values[-1] for name, values in call.op.params.items() if not isinstance(values, str)}
        params = {**samples, **call.op.bound_params(call.dims), **call.params}
        call_key = call.op.name, call.label
        shaped = ShapedCall(call_key, call.op, dict(call.dims), params, call.dtype)
        calls.setdefault((call_key, json.dumps([shaped.dims, params], sort_keys=True)), shaped)
    return list(calls.values())


class Comparisons:
    """The recorded comparisons of the calls of one step template.

    Parameters
    ----------
    device : Device
        Only comparisons on this device count.
    threads : int
        CPU threads of the run. Only comparisons with this number count, since a variant may divide its work by it.
    """

    def __init__(self, store: Store, template: StepTemplate, device: Device, threads: int) -> None:
        self.threads = threads
        self.calls = shaped_calls(template)
        self._newest = {one.key: one for one in store.comparisons() if one.device == device}

    def of(self, call: ShapedCall, variant: Variant) -> Comparison | None:
        """Return the newest comparison of a call of the unchanged variant; None if there is none."""
        comparison = self._newest.get(call.record_key(variant, self.threads))
        return comparison if comparison is not None and comparison.is_fresh(variant) else None

    def wrong(self, call_key: CallKey, variant: Variant) -> Comparison | None:
        """Return a comparison in which `variant` failed at a shape of this op and label; None if there is none."""
        known = (self.of(call, variant) for call in self.calls if call.call_key == call_key)
        return next((one for one in known if one is not None and one.is_failed), None)

    def pairs(self, sets: Iterable[Mapping[CallKey, Variant]]) -> Iterator[tuple[ShapedCall, Variant]]:
        """Yield each call once with each variant that is chosen for it, except the reference."""
        seen: set[str] = set()
        for call in self.calls:
            for variant in (chosen[call.call_key] for chosen in sets):
                key = call.record_key(variant, self.threads)
                if variant.is_reference or variant.refusals(call.dims, call.params, call.dtype):
                    continue  # `bind_call` reports a variant that refuses its call
                if key not in seen:
                    seen.add(key)
                    yield call, variant


def wrong_at_shapes(
    template: StepTemplate,
    store: Store,
    settings: Settings,
    device: Device,
    sets: Sequence[Mapping[CallKey, Variant]],
    say: Callable[[str], None],
) -> list[Comparison]:
    """Compare the calls of the chosen variants that have no recorded comparison; return all failed comparisons.

    After a failed comparison the caller chooses the kernels again: `Chooser` reads the records, and raises an error for a
    failed variant that the user named.

    Raises
    ------
    CrucibleError
        The child process failed. It printed its own message before.
    KeyboardInterrupt
        The user interrupted the child process.
    """
    known = Comparisons(store, template, device, settings.threads)
    pairs = list(known.pairs(sets))
    missing = [(call, variant) for call, variant in pairs if known.of(call, variant) is None]
    if device == Device.SIM:
        missing = _affordable(missing, say)
    if missing:
        began = time.monotonic()
        _compare(missing, settings, device)
        known = Comparisons(store, template, device, settings.threads)
        if absent := [str(variant) for call, variant in missing if known.of(call, variant) is None]:
            raise CrucibleError(f"harness.check_shapes recorded no comparison of {', '.join(sorted(set(absent)))}")
        seconds = time.monotonic() - began
        calls = "1 call" if len(missing) == 1 else f"{len(missing)} calls"
        say(f"compared {calls} with the reference at their own shapes in {seconds:.1f} s (once)")
    comparisons = [one for call, variant in pairs if (one := known.of(call, variant)) is not None]
    for one in comparisons:
        if one.status == Status.NOT_COMPARED:
            say(f"not compared with the reference: {one.op}/{one.variant} at {one.shape}: {one.message}")
    return [one for one in comparisons if one.is_failed]


def complaint(one: Comparison) -> str:
    """Return one line with the wrong variant, the shape, the message of the gate, and the command that reproduces it."""
    message = " ".join(one.message.split())
    where = f"at the shape of this run, {one.shape} (gate {one.gate!r})"
    return f"{one.op}/{one.variant} {one.status} {where}: {message}; see: {one.reproduce}"


def refuse(one: Comparison, instead: str) -> EvidenceError:
    """Return the error for a variant that the user named and that is wrong at a shape of this run."""
    return EvidenceError(f"{complaint(one)}; leave it out with: --kernels best,{one.op}={instead}")


def _affordable(missing: list[tuple[ShapedCall, Variant]], say: Callable[[str], None]) -> list[tuple[ShapedCall, Variant]]:
    """Return the smallest calls, as many as the simulator runs in about half a minute, and report the variants left out."""
    ordered = sorted(missing, key=lambda pair: float(pair[0].op.flops(**pair[0].dims)))
    total, affordable = 0.0, []
    for call, variant in ordered:
        total += float(call.op.flops(**call.dims))
        if total <= MOST_SIMULATED_FLOPS:
            affordable.append((call, variant))
    if left := sorted({str(variant) for _, variant in ordered[len(affordable) :]}):
        say(f"not compared with the reference at the shapes of this run, too slow in the simulator: {', '.join(left)}")
    return affordable


def _compare(missing: Iterable[tuple[ShapedCall, Variant]], settings: Settings, device: Device) -> None:
    """Run ``harness.check_shapes``, which compares the calls and records the outcomes."""
    with tempfile.TemporaryDirectory(prefix="crucible-") as folder:
        calls = Path(folder) / "calls.json"
        calls.write_text(json.dumps([call.request(variant) for call, variant in missing]))
        command = ["harness.check_shapes", "--calls", str(calls), "--threads", str(settings.threads)]
        command += ["--device", device, *Folders(settings.kernels_path, settings.results).absolute().words()]
        code = run_command(command)
    if code not in {DONE, FAILED}:
        raise CrucibleError(f"{pasted(*command)} failed; its message is above")
