"""The warm-up compiles the kernels on a tiny model and returns the compiler's memory to the system."""

import ctypes
import dataclasses
import mmap
from pathlib import Path

import numba
import numpy as np
import pytest

from models import MODELS
from registry import discover
from registry.devices import device
from registry.machine import thread_count
from tests.trainer.tiny import TINY, B, T, variant_sets
from trainer import session
from trainer.program.program import Program
from trainer.program.template import StepTemplate
from trainer.program.warm_up import return_free_memory, warm_up
from trainer.settings import Settings


@pytest.fixture(params=[TINY, MODELS["gpt2-124m"]], ids=lambda model: model.name)
def template(request):
    """Return the step template of a small run, then of a large run."""
    return StepTemplate(discover(), request.param, B, T)


def warmed(template, sets, said=None):
    """Warm up; return the op and label of each called variant, for each set, and the bytes of the largest array."""
    said = [] if said is None else said
    called = [set() for _ in sets]

    def watched(number, key, variant):
        def function(*arrays, **params):
            called[number].add(key)
            largest.append(max(array.nbytes for array in arrays))
            variant.function(*arrays, **params)

        return dataclasses.replace(variant, function=function)

    largest = []
    spied = [{key: watched(number, key, v) for key, v in variants.items()} for number, variants in enumerate(sets)]
    warm_up(discover(), template.model, spied, device("cpu"), thread_count(), template.dtype, said.append)
    return called, max(largest, default=0)


def plain_set(template):
    """Return the numpy references."""
    return {key: discover().variant(key[0], "numpy") for key in template.calls_by_key()}


def test_every_kernel_of_a_step_is_called_on_a_tiny_problem(template):
    cpu_sets = [{key: v for key, v in variants.items() if v.device == "cpu"} for variants in variant_sets(template)]
    plain = plain_set(template)
    called, largest = warmed(template, [plain, plain | cpu_sets[1]])
    assert called == [set(template.calls_by_key())] * 2
    assert largest < 2**22


def test_bfloat16_is_warmed_up_in_bfloat16():
    template = StepTemplate(discover(), TINY, B, T, dtype="bfloat16")
    assert warmed(template, [plain_set(template)])[0] == [set(template.calls_by_key())]


def test_only_a_kernel_that_refuses_small_problems_is_left_for_the_first_step():
    template = StepTemplate(discover(), MODELS["gpt2-124m"], B, T)
    plain, key, said = plain_set(template), ("layer_norm", ""), []
    picky = dataclasses.replace(plain[key], refuses=lambda **dims: ["too small"] if dims["C"] < 768 else [])
    called, _ = warmed(template, [plain | {key: picky}], said)
    assert called == [set(template.calls_by_key()) - {key}]
    assert not said


def test_a_kernel_that_fails_on_a_tiny_model_is_reported_in_a_line_and_stops_nothing():
    template = StepTemplate(discover(), TINY, B, T)
    plain, key, said = plain_set(template), ("global_norm", ""), []

    def workspace(threads, K):
        return threads // (K // 2**40)

    warmed(template, [plain | {key: dataclasses.replace(plain[key], workspace=workspace)}], said)
    assert said == [
        "the first step will compile some kernels: on a tiny model, ZeroDivisionError: integer division or modulo by zero"
    ]


def test_a_run_warms_up_before_it_takes_its_memory(monkeypatch, tmp_path):
    order = []
    for name in ("warm_up", "return_free_memory"):
        monkeypatch.setattr(session, name, lambda *_, name=name: order.append(name))
    monkeypatch.setattr(session, "Program", lambda *arguments: order.append("program") or Program(*arguments))
    settings = Settings(model=TINY, kernels="numpy", batch=B, sequence=T, results=tmp_path)
    selection = session.select(settings, [].append)
    session.build(selection, selection.choose(), data=None)
    assert order == ["warm_up", "return_free_memory", "program"]


def test_compiled_kernels_run_after_the_memory_is_returned_and_new_ones_compile():
    before = numba.njit(lambda x: 2 * x)
    values = np.arange(5.0)
    twice = before(values)
    return_free_memory()
    np.testing.assert_array_equal(before(values), twice)
    np.testing.assert_array_equal(numba.njit(lambda x: x + x)(values), twice)


LIBC = ctypes.CDLL(None)


def resident_mib():
    """Return the memory of this process in RAM, in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE / 2**20


@pytest.mark.skipif(not hasattr(LIBC, "malloc_trim"), reason="only glibc can return the middle of its heap")
def test_the_free_part_of_the_heap_is_returned():
    LIBC.malloc.restype = ctypes.c_void_p
    size = 64 * 1024  # small enough for glibc to take it from its heap
    blocks = [LIBC.malloc(size) for _ in range(1024)]
    for block in blocks:
        ctypes.memset(block, 1, size)
    for block in blocks[:-1]:  # the last block keeps the others away from the end of the heap
        LIBC.free(ctypes.c_void_p(block))
    before = resident_mib()
    return_free_memory()
    assert resident_mib() < before - 32
    LIBC.free(ctypes.c_void_p(blocks[-1]))
