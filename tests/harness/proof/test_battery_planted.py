"""Wrong and dishonest kernels: the gate for each kind of error must reject it."""

import platform
import shlex

import pytest

from harness.proof.battery import prove, prove_on
from harness.proof.cases import selection
from harness.proof.cases.strategies import basics, elements
from harness.proof.plan import Plan
from harness.proof.sandbox.client import Limits, Worker
from harness.proof.sandbox.confinement import can_confine
from registry.machine import thread_count
from registry.problem import parse_problem
from registry.profiles import PROFILES, Profile
from registry.table import discover

FILE = '''"""{what}

Idea: {what}
Source: a test.
"""
import ctypes, os, socket, threading, time
import threadpoolctl
import numpy as np
from kernels.{family}.spec import {constant}
from registry import register
KEPT = {{}}

def rows(x, weight, bias, y, mean, rstd, eps, dtype=np.float32):
    t = x.astype(dtype)
    mean[:] = t.mean(axis=1)
    rstd[:] = 1 / np.sqrt(t.var(axis=1) + dtype(eps))
    y[:] = (t - t.mean(axis=1)[:, None]) * rstd[:, None] * weight + bias

def beyond(array, element):
    """Return an element by its index, which may be outside the array."""
    return ctypes.c_float.from_address(array.ctypes.data + 4 * element)

@register({constant})
def {name}({arguments}):
    {body}
'''
ARGUMENTS = {
    "layer_norm": "x, weight, bias, y, mean, rstd, *, eps",
    "matmul_backward_bias": "dy, dbias, *, accumulate",
    "attention": "qkv, y, lse, *, num_heads",
    "softmax": "x, y",
}
ROWS = "rows(x, weight, bias, y, mean, rstd, eps)"
ADD = "dbias[:] = dy.sum(axis=0) + (dbias if accumulate else 0)"
ATTEND = """b, t, w = qkv.shape
    q, k, v = qkv.reshape(b, t, 3, num_heads, w // 3 // num_heads).transpose(2, 0, 3, 1, 4)
    s = q @ k.swapaxes(2, 3) / np.sqrt(q.shape[3], dtype=np.float32)
    s = np.where(np.tri(t, t, SHIFT, dtype=bool), s, -np.inf)
    top = s.max(axis=3, initial=-np.inf, keepdims=True)
    e = np.exp(s - top)
    lse[:] = np.log(e.sum(axis=3)) + top[..., 0]
    y[:] = (e / e.sum(axis=3, keepdims=True) @ v).transpose(0, 2, 1, 3).reshape(b, t, w // 3)"""
SOFTEN = "e = np.exp(x - x.max(axis=1, keepdims=True)); y[:] = e / e.sum(axis=1, keepdims=True)"
FLUSH = "ctypes.CDLL('libm.so.6').fesetenv(ctypes.byref((ctypes.c_char * 32)(*bytes(28), 0xC0, 0x9F, 0, 0)))"
HANGS = "numpy_never_returns"
FORGE = """for fd in os.listdir('/proc/self/fd'):
        link = f'/proc/self/fd/{fd}'
        if os.path.exists(link) and 'socket' in os.readlink(link):
            socket.socket(fileno=os.dup(int(fd))).send(b'.["", "result", {"error": ""}]')"""
REMEMBER = f"""if key not in KEPT:
        {ROWS}
        KEPT.clear()
        KEPT[key] = y.copy(), mean.copy(), rstd.copy()
    y[:], mean[:], rstd[:] = KEPT[key]"""
# Per name: the op, the gate that must reject it, and the body.
PLANTED = {
    "numpy_nan": ("layer_norm", "values", "y[:] = mean[:] = rstd[:] = np.nan"),
    "numpy_zeros": ("layer_norm", "values", "y[:] = mean[:] = rstd[:] = 0"),
    "numpy_mean": ("layer_norm", "values", f"{ROWS}; y[:] = y.mean() if y.size else 0"),
    "numpy_stale": ("layer_norm", "memory", "pass"),
    "numpy_forgets_rstd": ("layer_norm", "memory", f"keep = rstd.copy(); {ROWS}; rstd[:] = keep"),
    "numpy_drops_tail": ("layer_norm", "values", f"{ROWS}; y[:, y.shape[1] // 8 * 8 :] = 0"),
    "numpy_leaves_tail": (
        "layer_norm",
        "memory",
        "rows(x, weight, bias, keep := np.empty_like(y), mean, rstd, eps); y[:-1] = keep[:-1]",
    ),
    "numpy_float16": ("layer_norm", "values", "rows(x, weight, bias, y, mean, rstd, eps, np.float16)"),
    "numpy_square_of_mean": (
        "layer_norm",
        "values",
        f"{ROWS}; rstd[:] = 1 / np.sqrt(np.maximum((x * x).mean(axis=1) - mean * mean, 0) + np.float32(eps))",
    ),
    "numpy_other_eps": ("layer_norm", "values", "rows(x, weight, bias, y, mean, rstd, 1e-5)"),
    "numpy_swallows_nan": ("layer_norm", "specials", "rows(np.nan_to_num(x), weight, bias, y, mean, rstd, eps)"),
    "numpy_changes_input": ("layer_norm", "memory", f"{ROWS}; x *= -1"),
    "numpy_writes_past_the_end": ("layer_norm", "memory", f"{ROWS}; beyond(y, y.size).value = 0"),
    "numpy_writes_before_the_start": ("layer_norm", "memory", f"{ROWS}; beyond(y, -1).value = 0"),
    "numpy_returns": ("layer_norm", "contract", f"{ROWS}; return y"),
    "numpy_raises": ("layer_norm", "contract", "raise ValueError('not\\nhere')"),
    "numpy_raises_above_13": ("layer_norm", "contract", f"{ROWS}; assert x.shape[1] <= 13"),
    "numpy_exits": ("layer_norm", "isolation", f"{ROWS}; raise SystemExit(0)"),
    "numpy_leaves": ("layer_norm", "isolation", f"{ROWS}; os._exit(0)"),
    "numpy_segfaults": ("layer_norm", "isolation", f"{ROWS}; ctypes.string_at(8)"),
    HANGS: ("layer_norm", "isolation", "time.sleep(1e6)"),
    "numpy_flushes_subnormals": ("layer_norm", "isolation", f"{ROWS}; {FLUSH}"),
    "numpy_silences_numpy": ("layer_norm", "isolation", f"{ROWS}; np.seterr(all='raise')"),
    "numpy_seeds_numpy": ("layer_norm", "isolation", f"{ROWS}; np.random.seed(0)"),
    "numpy_sets_the_environment": ("layer_norm", "isolation", f"{ROWS}; os.environ['OMP_NUM_THREADS'] = '64'"),
    "numpy_moves": ("layer_norm", "isolation", f"{ROWS}; os.chdir('/')"),
    "numpy_stops_the_clock": ("layer_norm", "isolation", f"{ROWS}; time.perf_counter = lambda: 0.0"),
    "numpy_leaves_a_thread": (
        "layer_norm",
        "isolation",
        f"{ROWS}; threading.Thread(target=time.sleep, args=(99,), daemon=True).start()",
    ),
    "numpy_takes_one_thread": ("layer_norm", "isolation", f"{ROWS}; threadpoolctl.threadpool_limits(1)"),
    "numpy_keeps_a_file": ("layer_norm", "contract", f"{ROWS}; open('.cache/for_next_time', 'w')"),
    "numpy_forges_reports": ("layer_norm", "isolation", FORGE),
    "numpy_remembers_by_corner": (
        "layer_norm",
        "statelessness",
        f"key = (x.shape, x[:1].tobytes(), bias.tobytes(), weight.tobytes(), eps)\n    {REMEMBER}",
    ),
    "numpy_remembers_its_address": ("layer_norm", "statelessness", f"key = (x.ctypes.data, x.shape, eps)\n    {REMEMBER}"),
    "numpy_varies": ("layer_norm", "determinism", f"{ROWS}; KEPT[len(KEPT)] = 0; y *= np.float32(1 + 3e-7 * (len(KEPT) % 2))"),
    "numpy_ignores_accumulate": ("matmul_backward_bias", "gradients", "dbias[:] = dy.sum(axis=0)"),
    "numpy_always_accumulates": ("matmul_backward_bias", "gradients", "dbias += dy.sum(axis=0)"),
    "numpy_ignores_dy": ("matmul_backward_bias", "gradients", "dbias[:] = dbias if accumulate else 0"),
    "numpy_nearly_exact": ("matmul_backward_bias", "exact", f"{ADD}\n    if len(dy) > 6: dbias *= np.float32(1 + 3e-7)"),
    "numpy_spoils_the_row": ("softmax", "specials", f"{SOFTEN}; y[np.isneginf(x).any(axis=1)] = np.nan"),
    "numpy_sees_the_future": ("attention", "values", ATTEND.replace("SHIFT", "1")),
    "numpy_forgets_the_scale": (
        "attention",
        "values",
        ATTEND.replace("SHIFT", "0").replace(" / np.sqrt(q.shape[3], dtype=np.float32)", ""),
    ),
}

if platform.machine() != "x86_64":
    del PLANTED["numpy_flushes_subnormals"]  # the bits are those of x86-64
if not can_confine():
    del PLANTED["numpy_keeps_a_file"]  # the system does not forbid it
if thread_count() == 1:
    del PLANTED["numpy_takes_one_thread"]  # the process has only one
CHANGED = {
    "numpy_flushes_subnormals": "how subnormal numbers are treated",
    "numpy_silences_numpy": "numpy's error handling",
    "numpy_seeds_numpy": "numpy's random generator",
    "numpy_sets_the_environment": "the environment",
    "numpy_moves": "the working folder",
    "numpy_stops_the_clock": "time.perf_counter",
    "numpy_leaves_a_thread": "Python's threads",
    "numpy_takes_one_thread": "the number of threads of a pool",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Make a folder of planted variants, for --kernels-path."""
    folder = tmp_path_factory.mktemp("planted")
    for name, (op, _, body) in PLANTED.items():
        family = "matmul" if op.startswith("matmul") else op
        text = FILE.format(what=name, family=family, constant=op.upper(), name=name, arguments=ARGUMENTS[op], body=body)
        (folder / f"{name}.py").write_text(text)
    return folder


@pytest.fixture(scope="module")
def worker(folder):
    """Start a worker with short time limits."""
    with Worker([folder], Limits(first_seconds=30.0, seconds=10.0)) as process:
        yield process


@pytest.fixture(scope="module")
def helper(folder):
    """Start another worker, which shares the problems."""
    with Worker([folder], Limits(first_seconds=30.0, seconds=10.0)) as process:
        yield process


def planted(folder, name):
    """Return a planted variant."""
    table = discover(folder)
    assert table.unloadable == []
    return table.variant(PLANTED[name][0], name)


@pytest.mark.parametrize("helpers", [0, 1])
@pytest.mark.parametrize("name", [n for n in PLANTED if n != HANGS])
def test_wrong_kernel_is_rejected_by_its_gate(name, helpers, folder, worker, helper, reference_cache):
    proof = prove(planted(folder, name), worker, Plan(kernels_path=(folder,)), reference_cache, helpers=[helper][:helpers])
    assert (proof.gate, proof.passed) == (PLANTED[name][1], False), proof
    assert proof.message
    assert "\n" not in proof.message


@pytest.mark.parametrize(("name", "what"), [(name, what) for name, what in CHANGED.items() if name in PLANTED])
def test_the_message_names_the_shared_state_that_a_kernel_changed(name, what, folder, worker, reference_cache):
    variant = planted(folder, name)
    proof = prove_on(variant, worker, Plan(), parse_problem(variant.op, "N=2 C=3"), reference_cache)
    assert (proof.status, proof.message) == ("failed", f"changed {what}")


def test_kernel_that_hangs_is_ended(folder, reference_cache):
    with Worker([folder], Limits(first_seconds=20.0, seconds=0.2)) as hasty:
        problem = parse_problem(discover(folder).op("layer_norm"), "N=1 C=1")
        honest = planted(folder, "numpy_returns")
        prove_on(honest, hasty, Plan(), problem, reference_cache)
        hasty.limits = Limits(first_seconds=0.2, seconds=0.2)
        proof = prove(planted(folder, HANGS), hasty, Plan(), reference_cache)
        assert (proof.status, proof.gate) == ("hung", "isolation")
        hasty.limits = Limits()
        assert prove_on(discover(folder).variant("layer_norm", "numpy"), hasty, Plan(), problem, reference_cache).passed


def test_a_kernel_that_keeps_results_at_a_regression_case_only_is_rejected_there(tmp_path, reference_cache, monkeypatch):
    body = "KEPT.setdefault(x.shape, (SOFTEN(x))) if x.shape == (41, 43) else 0; y[:] = KEPT.get(x.shape, SOFTEN(x))"
    soften = "SOFTEN = lambda x: (e := np.exp(x - x.max(axis=1, keepdims=True))) / e.sum(axis=1, keepdims=True)"
    name = "numpy_remembers_one_shape"
    given = {"what": name, "family": "softmax", "constant": "SOFTMAX", "name": name, "arguments": "x, y", "body": body}
    (tmp_path / f"{name}.py").write_text(FILE.format(**given).replace("KEPT = {}", f"KEPT = {{}}\n{soften}"))
    monkeypatch.setattr(selection, "REGRESSIONS", tmp_path)
    variant = discover(tmp_path).variant("softmax", name)
    with Worker([tmp_path]) as own:
        assert prove(variant, own, Plan(), reference_cache).passed
        (tmp_path / "softmax.txt").write_text("# kept\nN=7 C=5 seed=3\nN=41 C=43 seed=4\n")
        proof = prove(variant, own, Plan(), reference_cache)
    assert (proof.gate, proof.problem.dims) == ("statelessness", {"N": 41, "C": 43})


def test_a_kernel_that_keeps_results_beyond_the_largest_tile_only_is_rejected(tmp_path, reference_cache):
    body = "y[:] = KEPT.setdefault(x.shape, SOFTEN(x)) if x.shape[0] < 8 and x.shape[1] > 1000 else SOFTEN(x)"
    soften = "SOFTEN = lambda x: (e := np.exp(x - x.max(axis=1, keepdims=True))) / e.sum(axis=1, keepdims=True)"
    name = "numpy_remembers_beyond_a_tile"
    given = {"what": name, "family": "softmax", "constant": "SOFTMAX", "name": name, "arguments": "x, y", "body": body}
    text = FILE.format(**given).replace("KEPT = {}", f"KEPT = {{}}\n{soften}")
    (tmp_path / f"{name}.py").write_text(text.replace("register(SOFTMAX)", 'register(SOFTMAX, tiles={"C": (512,)})'))
    with Worker([tmp_path]) as own:
        proof = prove(discover(tmp_path).variant("softmax", name), own, Plan(), reference_cache)
    assert (proof.gate, proof.problem.dims["C"]) == ("statelessness", 1024)


@pytest.mark.parametrize("helpers", [0, 1])
def test_a_kernel_that_fails_after_many_calls_is_rejected_where_workers_share_the_calls_too(tmp_path, reference_cache, helpers):
    name, arguments = "numpy_fails_later", ARGUMENTS["layer_norm"]
    body = f"{ROWS}; KEPT[len(KEPT)] = 0; y[-1:] *= len(KEPT) < 110"
    text = FILE.format(what=name, family="layer_norm", constant="LAYER_NORM", name=name, arguments=arguments, body=body)
    (tmp_path / f"{name}.py").write_text(text)
    with Worker([tmp_path]) as own, Worker([tmp_path]) as other:
        variant = discover(tmp_path).variant("layer_norm", name)
        proof = prove(variant, own, Plan(), reference_cache, helpers=[other][:helpers])
    assert (proof.status, proof.gate in {"statelessness", "determinism"}) == ("failed", True), str(proof)


def test_honest_kernel_passes_in_workers_that_the_battery_starts(reference_cache):
    variant = discover().variant("layer_norm_backward", "numpy")
    with Worker() as own, Worker() as other:
        proof = prove(variant, own, Plan(), reference_cache, helpers=[other])
        assert proof.passed, str(proof)
        alone = prove(variant, own, Plan(), reference_cache)
    assert (proof.problems, proof.vacuous) == (alone.problems, alone.vacuous)


def test_worker_goes_on_after_a_crash(folder, worker, reference_cache):
    table = discover(folder)
    problem = parse_problem(table.op("layer_norm"), "N=2 C=3")
    proof = prove_on(planted(folder, "numpy_segfaults"), worker, Plan(), problem, reference_cache)
    assert (proof.status, proof.gate) == ("crashed", "isolation")
    assert "SIGSEGV" in proof.message
    assert prove_on(table.variant("layer_norm", "numpy"), worker, Plan(), problem, reference_cache).passed


def test_failure_shrinks_and_its_line_reproduces_it(folder, worker, reference_cache):
    variant = planted(folder, "numpy_raises_above_13")
    proof = prove(variant, worker, Plan(kernels_path=(folder,)), reference_cache)
    assert proof.problem.dims["C"] in range(14, 18)
    line = shlex.split(proof.reproduce)[-1]
    again = prove_on(variant, worker, Plan(), parse_problem(variant.op, line), reference_cache)
    assert (again.gate, again.message, again.problem) == (proof.gate, proof.message, proof.problem)
    assert f"--kernels-path {folder}" in proof.reproduce


def test_a_call_that_fails_on_a_known_problem_is_shown_on_a_drawn_one_that_is_smaller(
    folder, worker, reference_cache, monkeypatch
):
    monkeypatch.setitem(PROFILES, "dev", Profile(24, 60.0))
    variant = planted(folder, "numpy_returns")
    first = next(p for p in basics(variant.op) if p.special_values == ())
    proof = prove(variant, worker, Plan(), reference_cache)
    assert proof.gate == "contract"
    assert elements(variant.op, proof.problem) < elements(variant.op, first)


def test_a_kernel_that_is_wrong_only_past_a_tile_and_a_few_rows_is_always_rejected(tmp_path, reference_cache):
    name = "numpy_forgets_behind_a_tile"
    text = FILE.format(
        what=name,
        family="attention",
        constant="ATTENTION_BACKWARD",
        name=name,
        arguments="dy, qkv, y, lse, dqkv, *, num_heads",
        body="dqkv[:] = ATTENTION_BACKWARD.reference(dy, qkv, y, lse, num_heads=num_heads)\n"
        "    if dy.shape[2] // num_heads % 32 == 0: dqkv[:, 3:] = 0",
    )
    (tmp_path / f"{name}.py").write_text(text.replace("_BACKWARD)", '_BACKWARD, tiles={"D": (32, 64)})'))
    with Worker([tmp_path]) as own:
        proof = prove(discover(tmp_path).variant("attention_backward", name), own, Plan(examples=1), reference_cache)
    assert (proof.gate, proof.problem.dims["D"] % 32) == ("gradients", 0)
    assert proof.problem.dims["T"] > 3
