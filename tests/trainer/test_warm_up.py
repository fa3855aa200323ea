"""Compiling on a tiny model first, and giving back what the compiler used."""

import dataclasses

import numba
import numpy as np
import pytest

from registry import discover
from registry.devices import device
from registry.machine import thread_count
from registry.models import MODELS
from tests.trainer.tiny import TINY, B, T, variant_sets
from trainer.program import Outline
from trainer.warm_up import give_back, warm_up


@pytest.fixture(params=[TINY, MODELS["gpt2-124m"]], ids=lambda model: model.name)
def outline(request):
    """Return the calls of a small run and of a large one."""
    return Outline(discover(), request.param, B, T)


def warmed(outline, sets):
    """Warm up; return op and label of what was called, for each set, and the bytes of the largest array."""
    called = [set() for _ in sets]

    def watched(number, need, variant):
        def function(*arrays, **params):
            called[number].add(need)
            largest.append(max(array.nbytes for array in arrays))
            variant.function(*arrays, **params)

        return dataclasses.replace(variant, function=function)

    largest = []
    spied = [{need: watched(number, need, v) for need, v in variants.items()} for number, variants in enumerate(sets)]
    warm_up(discover(), outline.model, spied, device("cpu"), thread_count(), "float32", [].append)
    return called, max(largest, default=0)


def test_every_kernel_of_a_step_is_called_on_a_tiny_problem(outline):
    host = [{need: v for need, v in variants.items() if v.device == "host"} for variants in variant_sets(outline)]
    plain = {need: discover().variant(need[0], "numpy") for need in outline.needs()}
    called, largest = warmed(outline, [plain, plain | host[1]])
    assert called == [set(outline.needs())] * 2
    assert largest < 2**22


def test_a_kernel_that_takes_only_large_problems_is_left_for_the_first_step():
    outline = Outline(discover(), MODELS["gpt2-124m"], B, T)
    plain = {need: discover().variant(need[0], "numpy") for need in outline.needs()}
    need = ("layer_norm", "")
    picky = dataclasses.replace(plain[need], refuses=lambda **dims: ["too small"] if dims["C"] < 768 else [])
    called, _ = warmed(outline, [plain | {need: picky}])
    assert called == [set()]


def test_what_is_compiled_runs_on_after_the_memory_is_given_back_and_more_can_be_compiled():
    before = numba.njit(lambda x: 2 * x)
    values = np.arange(5.0)
    twice = before(values)
    give_back()
    np.testing.assert_array_equal(before(values), twice)
    np.testing.assert_array_equal(numba.njit(lambda x: x + x)(values), twice)
