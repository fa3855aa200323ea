"""Before its first update a run compares each chosen variant once with the reference at the shapes of the run.

The planted variants are right for every size in the battery of layer norm (up to 70 rows) and wrong from 101 rows on.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from models import MODELS
from registry.comparison import Comparison
from registry.errors import EvidenceError
from registry.fingerprint import contract_hash, source_hash
from registry.machine import thread_count, versions
from registry.paths import ROOT
from registry.records import Champion, Evidence, Row, Run, Store
from registry.table import discover
from tests.trainer.tiny import PICO
from trainer.program.template import StepTemplate
from trainer.selection.kernel_request import parse_kernels
from trainer.selection.kernel_set import Chooser
from trainer.selection.shape_checks import Comparisons, shaped_calls, wrong_at_shapes

TEXT = "To be, or not to be, that is the question.\n\n" * 400
ROWS = 128  # of the runs below: batch 8, sequence 16
PLANTED = '''"""Layer norm by the reference{word}.

Idea: a test.
Source: a test.
"""
import ctypes

import numpy as np

from kernels.layer_norm.spec import LAYER_NORM, layer_norm
from registry import register


@register(LAYER_NORM)
def {name}(x, weight, bias, y, mean, rstd, *, eps):
    y[...], mean[...], rstd[...] = layer_norm(x, weight, bias, eps=eps)
    if len(x) > 100:
        {fault}
'''
FAULTS = {
    "numpy_lazy": "y[...] = np.maximum(y, 0)",
    "numba_lazy": "y[-1, -1] += 1",
    "numpy_crash": "ctypes.memset(0, 0, 64)",
    "numpy_right": "pass",
}


@pytest.fixture
def folder(tmp_path):
    """Return a folder of planted variants."""
    kernels = tmp_path / "more kernels"
    kernels.mkdir()
    for name, fault in FAULTS.items():
        plant(kernels, name, fault)
    (tmp_path / "text.txt").write_text(TEXT)
    return kernels


def plant(folder, name, fault, word=""):
    """Write one variant."""
    (folder / f"{name}.py").write_text(PLANTED.format(name=name, fault=fault, word=word))


def prove(store, variant, device="cpu"):
    """Write evidence that a variant passed the battery."""
    hashes = {"source": source_hash(variant), "contract": contract_hash(variant.op)}
    facts = {"problems": 40, "device": device, "versions": versions(device)}
    store.add_evidence(Evidence(op=variant.op.name, variant=variant.name, status="passed", **facts, **hashes))


def crown(store, variant, **dims):
    """Make a variant the champion of layer norm."""
    store.write_champions(
        [
            Champion(
                op=variant.op.name,
                workload="gpt2-pico-b8-t16",
                dims=dims or {"N": ROWS, "C": 16},
                variant=variant.name,
                source=source_hash(variant),
                threads=thread_count(),
                median_ms=1.0,
            )
        ]
    )


def everything_else():
    """Return a request in which only the variant of layer norm comes from the records."""
    ops = {op for op, _ in StepTemplate(discover(), PICO, 8, 16).calls_by_key()} - {"layer_norm"}
    return "best," + ",".join(f"{op}=numpy" for op in sorted(ops))


def train(tmp_path, *words, folder):
    """Train for two steps in a child process; return its exit code, its JSON document and its standard error."""
    out = tmp_path / f"out{len(list(tmp_path.glob('out*')))}"
    common = [f"--results={tmp_path / 'results'}", f"--out={out}", f"--data={tmp_path / 'text.txt'}", "--json"]
    command = [sys.executable, "-m", "tests.trainer.pico_run", *common, "--batch=8", "--steps=2", *words]
    command += [f"--kernels-path={folder}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def errors(said):
    """Return the error lines."""
    return [line for line in said.splitlines() if line.startswith("error: ")]


@pytest.mark.parametrize(
    ("name", "finding"),
    [("numpy_lazy", "elements are wrong"), ("numpy_crash", "its process was ended by SIGSEGV")],
)
def test_a_named_variant_that_is_wrong_at_the_shape_of_the_run_is_refused_in_one_line(tmp_path, folder, name, finding):
    store = Store(tmp_path / "results")
    prove(store, discover(folder).variant("layer_norm", name))
    for compared in (1, 0):  # the second time the record is enough
        code, document, said = train(tmp_path, f"--kernels=numpy,layer_norm={name}", folder=folder)
        assert (code, document["error"]["kind"]) == (2, "evidence")
        assert said.count("with the reference at their own shapes") == compared
        assert "Traceback" not in said
        (line,) = errors(said)
        assert line.startswith(f"error: layer_norm/{name} ")
        assert f"C=16 N={ROWS}" in line
        assert finding in line
        assert f"python -m harness.check_shapes --op layer_norm --variant {name} --kernels-path '{folder}'" in line
        assert "--kernels best,layer_norm=numpy" in line
        assert not list((tmp_path / "out").glob("*.safetensors"))
    (failed,) = (one for one in store.comparisons() if one.is_failed)
    assert failed.dims == {"N": ROWS, "C": 16}
    assert [one.status for one in store.comparisons() if one.dims["N"] == 16] == [
        "passed"
    ]  # the shape of the calls that sample a text


def test_a_champion_that_is_wrong_is_replaced_and_a_changed_one_is_compared_again(tmp_path, folder):
    store, table = Store(tmp_path / "results"), discover(folder)
    lazy = table.variant("layer_norm", "numpy_lazy")
    for name in ("numpy_lazy", "numpy_right"):
        prove(store, table.variant("layer_norm", name))
    crown(store, lazy)
    code, document, said = train(tmp_path, f"--kernels={everything_else()}", folder=folder)
    assert (code, document["kernels"]["layer_norm"]) == (0, "numpy_right")
    assert "layer_norm/numpy_lazy failed at the shape of this run" in said
    assert "this run takes another variant" in said
    compared = len(store.comparisons())
    assert compared == 4  # two variants: in a step, and in the sample
    code, document, said = train(tmp_path, f"--kernels={everything_else()}", folder=folder)
    assert (code, document["kernels"]["layer_norm"]) == (0, "numpy_right")
    assert "own shapes" not in said
    assert len(store.comparisons()) == compared
    changed = folder.parent / "changed"
    changed.mkdir()
    plant(changed, "numpy_lazy", "pass", ", mended")
    mended = discover(changed).variant("layer_norm", "numpy_lazy")
    prove(store, mended)
    crown(store, mended)
    code, document, said = train(tmp_path, f"--kernels={everything_else()}", folder=changed)
    assert (code, document["kernels"]["layer_norm"]) == (0, "numpy_lazy")
    assert "compared 2 calls with the reference at their own shapes" in said


def test_when_no_other_variant_is_left_the_complaint_comes_before_the_error(tmp_path, folder):
    prove(Store(tmp_path / "results"), discover(folder).variant("layer_norm", "numba_lazy"))
    code, _, said = train(tmp_path, f"--kernels={everything_else().replace('best', 'numba')}", folder=folder)
    assert code == 2
    (line,) = errors(said)
    assert (
        "layer_norm can run in this step: numba_lazy gave wrong outputs at its shapes, see: python -m harness.check_shapes"
        in line
    )
    complaint = "layer_norm/numba_lazy failed at the shape of this run"
    assert said.count(complaint) == 1
    assert said.index(complaint) < said.index(line)


def test_both_kernel_sets_are_compared_before_they_are_timed(tmp_path, folder):
    store, table = Store(tmp_path / "results"), discover(folder)
    for name in ("numpy_right", "numba_lazy"):
        prove(store, table.variant("layer_norm", name))
    crown(store, table.variant("layer_norm", "numpy_right"))
    code, document, said = train(tmp_path, f"--kernels={everything_else()}", folder=folder)
    assert (code, document["kernels"]["layer_norm"]) == (0, "numpy_right")
    assert "layer_norm/numba_lazy failed at the shape of this run" in said
    assert "one thread pool" not in said


def test_a_plan_compares_nothing(tmp_path, folder):
    prove(Store(tmp_path / "results"), discover(folder).variant("layer_norm", "numpy_lazy"))
    code, _, said = train(tmp_path, "--kernels=numpy,layer_norm=numpy_lazy", "--plan", folder=folder)
    assert code == 0
    assert "own shapes" not in said


def compared(variant, dims, status="passed", **fields):
    """Return a comparison of a layer norm."""
    return Comparison(
        op="layer_norm",
        variant=variant.name,
        source=source_hash(variant),
        contract=contract_hash(variant.op),
        dims=dims,
        params={"eps": 1e-5},
        status=status,
        threads=2,
        reproduce=f"python -m harness.check_shapes --op layer_norm --variant {variant.name}",
        **fields,
    )


@pytest.fixture
def nano():
    """Return the step template of a small run."""
    return StepTemplate(discover(), MODELS["gpt2-nano"], 2, 32)


def test_the_fastest_variant_that_is_right_follows_a_wrong_champion_without_a_race(tmp_path, nano):
    store, table = Store(tmp_path), discover()
    names = ["numba_rows", "numba_welford", "numba_naive"]
    for name in names:
        prove(store, table.variant("layer_norm", name))
    wrong, second = (table.variant("layer_norm", name) for name in names[:2])
    crown(store, wrong, N=64, C=64)
    rows = [
        Row(variant=n, source=source_hash(table.variant("layer_norm", n)), status="passed", samples_ms=[ms])
        for n, ms in zip(names, (1.0, 3.0, 2.0), strict=True)
    ]
    run = {"op": "layer_norm", "workload": "gpt2-nano-b2-t32", "dims": {"N": 64, "C": 64}, "params": {}, "protocol": "cpu-warm"}
    store.add_run(Run(**run, threads=2, rows=rows, controls={}, roofline={}))
    store.add_comparisons(compared(wrong, {"N": 64, "C": 64}, "failed", gate="values", message="y[0] = 1"))
    request = parse_kernels(everything_else())

    def chosen():
        return Chooser(table, store, nano, 2).choose(request)["layer_norm", ""].variant.name

    assert chosen() == "numba_naive"  # 2 ms
    assert Chooser(table, store, nano, 2).without_champion(request) == []
    store.add_comparisons(compared(table.variant("layer_norm", "numba_naive"), {"N": 32, "C": 64}, "crashed"))
    assert chosen() == second.name
    store.add_comparisons(compared(wrong, {"N": 64, "C": 64}))  # the newest one counts
    assert chosen() == wrong.name


def test_comparisons_of_other_calls_or_other_sources_do_not_count(tmp_path, nano):
    store, variant = Store(tmp_path), discover().variant("layer_norm", "numba_rows")
    other = compared(variant, {"N": 64, "C": 64}, "failed").to_json() | {"source": "0" * 16}
    store.add_comparisons(Comparison(**other), compared(variant, {"N": 65, "C": 64}, "failed"))
    assert Comparisons(store, nano, "cpu", 2).wrong(("layer_norm", ""), variant) is None
    store.add_comparisons(compared(variant, {"N": 64, "C": 64}, "failed"))
    assert Comparisons(store, nano, "cpu", 2).wrong(("layer_norm", ""), variant) is not None
    for threads, device in ((1, "cpu"), (2, "sim")):
        assert Comparisons(store, nano, device, threads).wrong(("layer_norm", ""), variant) is None


def test_a_named_variant_is_refused_with_the_one_that_would_be_chosen(tmp_path, nano):
    store, table = Store(tmp_path), discover()
    for name in ("numba_rows", "numba_welford"):
        prove(store, table.variant("layer_norm", name))
    variant = table.variant("layer_norm", "numba_welford")
    store.add_comparisons(compared(variant, {"N": 64, "C": 64}, "failed", gate="values", message="y[1] = 2"))
    with pytest.raises(EvidenceError, match=r"y\[1\] = 2.*--kernels best,layer_norm=numba_rows"):
        Chooser(table, store, nano, 2).choose(parse_kernels("numpy,layer_norm=numba_welford"))


@pytest.mark.parametrize(("base", "device", "kind"), [("numba", "cpu", "numba"), ("cuda", "sim", "CUDA")])
def test_when_all_proven_variants_are_wrong_the_error_names_them_and_shows_how(tmp_path, nano, base, device, kind):
    store, table = Store(tmp_path), discover()
    own = [v for v in table.variants["layer_norm"].values() if v.backend == base]
    others = [v for op, _ in nano.calls_by_key() for v in table.variants[op].values() if v.backend == base and v not in own]
    for variant in [*own, *others]:
        prove(store, variant, device)
    facts = {"gate": "values", "device": device, "versions": versions(device)}
    store.add_comparisons(*(compared(v, {"N": 64, "C": 64}, "failed", **facts) for v in own))
    with pytest.raises(EvidenceError) as caught:
        Chooser(table, store, nano, 2, device).choose(parse_kernels(base))
    names = sorted(v.name for v in own)
    instead = "; run the reference with: --kernels numba,layer_norm=numpy" if device == "cpu" else ""
    assert str(caught.value) == (
        f"no proven {kind} variant of layer_norm can run in this step: {', '.join(names)} gave wrong outputs at its shapes, "
        f"see: python -m harness.check_shapes --op layer_norm --variant {names[0]}{instead}"
    )


def test_when_all_proven_variants_refuse_the_call_the_error_gives_their_reason(tmp_path):
    refusing = PLANTED.replace("(LAYER_NORM)", '(LAYER_NORM, refuses=lambda N, C, eps: ["too many rows"])')
    (tmp_path / "numba_choosy.py").write_text(refusing.format(name="numba_choosy", fault="pass", word=""))
    store, table = Store(tmp_path / "results"), discover(tmp_path)
    prove(store, table.variant("layer_norm", "numba_choosy"))
    request = parse_kernels(everything_else().replace("best", "numba"))
    message = (
        r"^no proven numba variant of layer_norm can run in this step: numba_choosy refuses the call \(too many rows\); run"
    )
    with pytest.raises(EvidenceError, match=message):
        Chooser(table, store, StepTemplate(table, MODELS["gpt2-nano"], 2, 32), 2).choose(request)


def flags(template, op):
    """Return the values of the accumulate parameters among the calls of an op."""
    params_of_calls = (call.params for call in shaped_calls(template) if call.op.name == op)
    return {tuple(v for n, v in params.items() if n.startswith("accumulate")) for params in params_of_calls}


def test_gradients_are_added_to_only_where_a_run_does_so():
    one, two = (StepTemplate(discover(), PICO, 2, 16, micro_steps) for micro_steps in (1, 2))
    assert flags(one, "matmul_backward_weight") == {(False,)}
    assert flags(two, "matmul_backward_weight") == {(False,), (True,)}
    assert flags(one, "embedding_backward") == {(True, False)}


def test_every_call_has_all_its_parameters_and_each_tensor_its_own_update():
    template = StepTemplate(discover(), MODELS["gpt2-124m"], 4, 64)
    calls = shaped_calls(template)
    assert all(call.params.keys() == set(call.op.params) for call in calls)
    assert all(call.dims.keys() == set(call.op.domain) for call in calls)
    updates = {(call.dims["K"], call.params["weight_decay"]) for call in calls if call.op.name == "adamw"}
    assert (50304 * 768, 0.1) in updates
    assert (768, 0.0) in updates
    assert {call.call_key for call in calls} == template.calls_by_key().keys()


def test_in_the_simulator_only_cheap_calls_are_compared_and_the_others_are_named(tmp_path, monkeypatch):
    table, template = discover(), StepTemplate(discover(), MODELS["gpt2-124m"], 4, 64)
    cheap, said, compared_variants = table.variant("layer_norm", "cuda_warp"), [], []
    chosen = {key: table.variant(key[0], "numpy") for key in template.calls_by_key()}
    chosen |= {("layer_norm", ""): cheap, ("matmul", "head"): table.variant("matmul", "cuda_tiled")}

    def compare(missing, settings, device):
        compared_variants.extend(str(variant) for _, variant in missing)
        assert device == "sim"
        for call, variant in missing:
            record = compared(variant, dict(call.dims), device="sim", versions=versions("sim")).to_json()
            Store(tmp_path).add_comparisons(Comparison(**record | {"params": dict(call.params), "threads": settings.threads}))

    monkeypatch.setattr("trainer.selection.shape_checks._compare", compare)
    from trainer.settings import Settings

    settings = Settings(model=MODELS["gpt2-124m"], results=Path(tmp_path), threads=1)
    assert wrong_at_shapes(template, Store(tmp_path), settings, "sim", [chosen], said.append) == []
    assert set(compared_variants) == {"layer_norm/cuda_warp"}
    assert any("too slow in the simulator: matmul/cuda_tiled" in line for line in said)
