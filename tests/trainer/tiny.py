"""A GPT-2 so small that the numpy references train it quickly, and its program."""

import dataclasses

import numpy as np

from models import Recipe
from models.gpt2 import GPT2
from registry import discover
from registry.devices import device, set_threads
from registry.machine import thread_count
from trainer.program.program import Program
from trainer.program.template import StepTemplate

__all__ = ["PICO", "TINY", "batch", "break_call", "build", "variant_sets"]

TINY = GPT2(name="tiny", layers=2, channels=48, heads=3, context=20, vocabulary=61, padded_vocabulary=64)
PICO = GPT2(name="gpt2-pico", layers=1, channels=16, heads=2, context=16, recipe=Recipe(2, 16, 4, 1e-2))
B, T = 3, 16


def variant_sets(template):
    """Return sets of variants by op and label. Every variant is in one of the sets; the first set holds the references."""
    table = discover()
    usable = {
        key: [v for v in table.variants[key[0]].values() if not v.refusals(call.dims, call.params)]
        for key, call in template.calls_by_key().items()
    }
    count = max(len(variants) for variants in usable.values())
    return [{key: variants[i % len(variants)] for key, variants in usable.items()} for i in range(count)]


def build(model=TINY, batch=B, sequence=T, micro_steps=1, variants=None, seed=42, dtype="float32", on="cpu"):
    """Return a program with initial weights, of `variants` or of the numpy references."""
    table = discover()
    set_threads(thread_count())
    template = StepTemplate(table, model, batch, sequence, micro_steps, dtype=dtype)
    chosen = variants or {key: table.variant(key[0], "numpy") for key in template.calls_by_key()}
    program = Program(template, chosen, device(on), thread_count())
    program.initialise(seed)
    return program


def batch(random, rows=B, model=TINY, sequence=T):
    """Return inputs and targets of random tokens."""
    window = random.integers(0, model.vocabulary, (rows, sequence + 1)).astype(np.int32)
    return window[:, :-1], window[:, 1:]


def break_call(program, name):
    """Make the first backward call called `name` write an infinity into its last array."""
    calls = program.backward[False]
    number = next(i for i, c in enumerate(calls) if str(c.call) == name)
    honest = calls[number].variant

    def broken(*arrays, **params):
        honest.function(*arrays, **params)
        arrays[-1].flat[0] = np.inf

    calls[number] = dataclasses.replace(calls[number], variant=dataclasses.replace(honest, function=broken))
