"""Compiling on a tiny model first, and giving back what the compiler used."""

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
from trainer import build
from trainer.kernel_choice import choose_kernels
from trainer.opened import open_run
from trainer.program import Program, StepTemplate
from trainer.settings import Settings
from trainer.warm_up import give_back, warm_up


@pytest.fixture(params=[TINY, MODELS["gpt2-124m"]], ids=lambda model: model.name)
def template(request):
    """Return the calls of a small run and of a large one."""
    return StepTemplate(discover(), request.param, B, T)


def warmed(template, sets, said=None):
    """Warm up; return op and label of what was called, for each set, and the bytes of the largest array."""
    said = [] if said is None else said
    called = [set() for _ in sets]

    def watched(number, need, variant):
        def function(*arrays, **params):
            called[number].add(need)
            largest.append(max(array.nbytes for array in arrays))
            variant.function(*arrays, **params)

        return dataclasses.replace(variant, function=function)

    largest = []
    spied = [{need: watched(number, need, v) for need, v in variants.items()} for number, variants in enumerate(sets)]
    warm_up(discover(), template.model, spied, device("cpu"), thread_count(), template.dtype, said.append)
    return called, max(largest, default=0)


def plain_set(template):
    """Return the plain definitions."""
    return {need: discover().variant(need[0], "numpy") for need in template.calls_by_key()}


def test_every_kernel_of_a_step_is_called_on_a_tiny_problem(template):
    host = [{need: v for need, v in variants.items() if v.device == "host"} for variants in variant_sets(template)]
    plain = plain_set(template)
    called, largest = warmed(template, [plain, plain | host[1]])
    assert called == [set(template.calls_by_key())] * 2
    assert largest < 2**22


def test_bfloat16_is_warmed_up_in_bfloat16():
    template = StepTemplate(discover(), TINY, B, T, dtype="bfloat16")
    assert warmed(template, [plain_set(template)])[0] == [set(template.calls_by_key())]


def test_only_a_kernel_that_takes_nothing_so_small_is_left_for_the_first_step():
    template = StepTemplate(discover(), MODELS["gpt2-124m"], B, T)
    plain, need, said = plain_set(template), ("layer_norm", ""), []
    picky = dataclasses.replace(plain[need], refuses=lambda **dims: ["too small"] if dims["C"] < 768 else [])
    called, _ = warmed(template, [plain | {need: picky}], said)
    assert called == [set(template.calls_by_key()) - {need}]
    assert not said


def test_a_kernel_that_fails_on_a_tiny_model_is_told_in_a_line_and_stops_nothing():
    template = StepTemplate(discover(), TINY, B, T)
    plain, need, said = plain_set(template), ("global_norm", ""), []

    def workspace(threads, K):
        return threads // (K // 2**40)

    warmed(template, [plain | {need: dataclasses.replace(plain[need], workspace=workspace)}], said)
    assert said == [
        "not every kernel is compiled beforehand: on a tiny model, ZeroDivisionError: integer division or modulo by zero"
    ]


def test_a_run_warms_up_before_it_takes_its_memory(monkeypatch, tmp_path):
    order = []
    for name in ("warm_up", "give_back"):
        monkeypatch.setattr(build, name, lambda *_, name=name: order.append(name))
    monkeypatch.setattr(build, "Program", lambda *arguments: order.append("program") or Program(*arguments))
    settings = Settings(model=TINY, kernels="numpy", batch=B, sequence=T, results=tmp_path)
    run = open_run(settings, [].append)
    build.build_program(run, choose_kernels(run))
    assert order == ["warm_up", "give_back", "program"]


def test_what_is_compiled_runs_on_after_the_memory_is_given_back_and_more_can_be_compiled():
    before = numba.njit(lambda x: 2 * x)
    values = np.arange(5.0)
    twice = before(values)
    give_back()
    np.testing.assert_array_equal(before(values), twice)
    np.testing.assert_array_equal(numba.njit(lambda x: x + x)(values), twice)


LIBC = ctypes.CDLL(None)


def resident_mib():
    """Return how much memory this process has in RAM."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE / 2**20


@pytest.mark.skipif(not hasattr(LIBC, "malloc_trim"), reason="only glibc can return the middle of its heap")
def test_the_free_part_of_the_heap_is_given_back():
    LIBC.malloc.restype = ctypes.c_void_p
    size = 64 * 1024  # small enough for glibc to take it from its heap
    blocks = [LIBC.malloc(size) for _ in range(1024)]
    for block in blocks:
        ctypes.memset(block, 1, size)
    for block in blocks[:-1]:  # the last one stands between them and the end of the heap
        LIBC.free(ctypes.c_void_p(block))
    before = resident_mib()
    give_back()
    assert resident_mib() < before - 32
    LIBC.free(ctypes.c_void_p(blocks[-1]))
