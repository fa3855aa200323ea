"""A proof is void if a source changes while it runs."""

import os
from pathlib import Path

import pytest

from harness import verify
from harness.proof import prove_all
from harness.proof.battery import prove
from harness.proof.plan import Plan
from harness.proof.sandbox.client import Worker
from registry.fingerprint import Snapshot, source_hash, sources
from registry.paths import ROOT
from registry.records import Store
from registry.table import discover
from tests.kernels.test_battery import test_battery as battery_of_pytest

PYTHON = '''"""Softmax.

Idea: a test.
Source: a test.
"""
import numpy as np
from kernels.softmax.spec import SOFTMAX
from registry import register

@register(SOFTMAX)
def {name}(x, y):
    e = np.exp(x - x.max(axis=1, keepdims=True, initial=-np.inf))
    y[:] = {sign}e / e.sum(axis=1, keepdims=True)
'''
CUDA = '''"""Sums.

Idea: a test.
Source: a test.
"""
from kernels.residual.spec import RESIDUAL
from registry import register
from registry.cuda import CudaKernel, launch

_KERNEL = CudaKernel(__file__, "add")

@register(RESIDUAL)
def cuda_adds(x1, x2, y):
    if y.size:
        launch(_KERNEL, (y.size + 63) // 64, 64, (x1, x2, y, y.size))
'''
HEADER = "#pragma once\n__device__ float sum(float a, float b) { return a + b; }\n"


class Saving:
    """A reference cache that saves a file at the first request, when the variant is imported and not yet called."""

    def __init__(self, reference_cache, save):
        self.reference_cache, self.save = reference_cache, save

    def of(self, op, problem):
        """Save once, and return the solved problem."""
        save, self.save = self.save, lambda: None
        save()
        return self.reference_cache.of(op, problem)

    def __getattr__(self, name):
        return getattr(self.reference_cache, name)


def replaced(path, text):
    """Replace a file by a new file, as editors do."""
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    draft.replace(path)


def put_back(path):
    """Save other contents, and then the old contents."""
    text = path.read_text()
    path.write_text("# unfinished\n" + text)
    path.write_text(text)


SAVES = {
    "a right kernel": lambda path: path.write_text(PYTHON.format(name=path.stem, sign="") + "# more\n"),
    "by an editor that replaces files": lambda path: replaced(path, path.read_text() + "# more\n"),
    "half of a file": lambda path: path.write_text(path.read_text() + "def half(:\n"),
    "other contents and the old ones": put_back,
    "nothing: the file is gone": Path.unlink,
}


def written(folder, name="numpy_soft", sign=""):
    """Write a variant and return it."""
    (folder / f"{name}.py").write_text(PYTHON.format(name=name, sign=sign))
    return folder / f"{name}.py"


@pytest.mark.parametrize("save", SAVES.values(), ids=SAVES)
@pytest.mark.parametrize("sign", ["", "-"])
def test_a_file_saved_while_it_is_proven_voids_the_proof(tmp_path, reference_cache, save, sign):
    path = written(tmp_path, sign=sign)
    with Worker([tmp_path]) as worker:
        variant = discover(tmp_path).variant("softmax", "numpy_soft")
        proof = prove(variant, worker, Plan(kernels_path=(tmp_path,)), Saving(reference_cache, lambda: save(path)))
    assert (proof.status, proof.gate, proof.passed) == ("source_changed", "sources", False), str(proof)
    assert f"source changed while it was proven: {path}" in proof.message
    assert "prove it again: python -m harness.verify --op softmax --variant numpy_soft" in str(proof)


def test_a_file_saved_between_the_import_of_one_process_and_of_the_other_voids_the_proof(tmp_path, reference_cache):
    path = written(tmp_path)
    variant = discover(tmp_path).variant("softmax", "numpy_soft")
    before = Snapshot((tmp_path,))
    path.write_text(PYTHON.format(name="numpy_soft", sign="-"))
    with Worker([tmp_path]) as worker:
        alone = prove(variant, worker, Plan(), reference_cache)
        proof = prove(variant, worker, Plan(sources=before), reference_cache)
    assert (alone.gate, proof.status) == ("values", "source_changed")


def test_files_that_are_no_source_of_a_variant_may_be_saved(tmp_path, reference_cache):
    written(tmp_path)
    other = written(tmp_path, "numpy_other")
    with Worker([tmp_path]) as worker:
        variant = discover(tmp_path).variant("softmax", "numpy_soft")
        assert prove(variant, worker, Plan(), Saving(reference_cache, lambda: other.write_text(""))).passed


@pytest.mark.parametrize("name", ["cuda_adds.cu", "mine.cuh", "below/more.cuh"])
def test_a_cuda_source_or_header_saved_meanwhile_voids_the_proof_and_changes_the_hash(tmp_path, reference_cache, name):
    (tmp_path / "below").mkdir()
    (tmp_path / "cuda_adds.py").write_text(CUDA)
    (tmp_path / "mine.cuh").write_text('#include "below/more.cuh"\n')
    (tmp_path / "below" / "more.cuh").write_text(HEADER)
    (tmp_path / "cuda_adds.cu").write_text(
        '#include "mine.cuh"\nextern "C" __global__ void add(const float* a, const float* b, float* y, long long size) {\n'
        "  long long i = blockIdx.x * 64LL + threadIdx.x;\n  if (i < size) y[i] = sum(a[i], b[i]);\n}\n"
    )
    path = tmp_path / name

    def save():
        path.write_text(path.read_text() + "// more\n")

    with Worker([tmp_path]) as worker:
        variant = discover(tmp_path).variant("residual", "cuda_adds")
        before = source_hash(variant)
        proof = prove(variant, worker, Plan(examples=6), Saving(reference_cache, save))
    assert proof.status == "source_changed", str(proof)
    assert str(path) in proof.message
    assert source_hash(variant) != before
    assert path.resolve() in {p.resolve() for p in sources(variant.path)}


def test_nothing_is_stored_and_the_command_fails(tmp_path, capsys, monkeypatch):
    path = written(tmp_path)
    proves = prove_all.prove

    def proves_and_saves(variant, worker, plan, reference_cache, **options):
        return proves(
            variant, worker, plan, Saving(reference_cache, lambda: path.write_text(path.read_text() + "# more\n")), **options
        )

    monkeypatch.setattr(prove_all, "prove", proves_and_saves)
    words = ["--op", "softmax", "--variant", "numpy_soft", "--kernels-path", str(tmp_path), "--results", str(tmp_path / "kept")]
    assert verify.main([*words, "--json"]) == 1
    printed = capsys.readouterr().out
    assert '"status": "source_changed"' in printed
    assert "source changed while it was proven" in printed
    assert Store(tmp_path / "kept").evidence() == []
    monkeypatch.setattr(prove_all, "prove", proves)
    discover.cache_clear()  # a new command has an empty cache
    assert verify.main(words) == 0
    [stored] = Store(tmp_path / "kept").evidence()
    assert stored.source == source_hash(discover(tmp_path).variant("softmax", "numpy_soft"))


def test_the_battery_of_pytest_fails(tmp_path, reference_cache):
    path = written(tmp_path)
    with Worker([tmp_path]) as worker:
        variant = discover(tmp_path).variant("softmax", "numpy_soft")
        saving = Saving(reference_cache, lambda: path.write_text(path.read_text() + "# more\n"))
        with pytest.raises(pytest.fail.Exception, match="source changed while it was proven"):
            battery_of_pytest(variant, worker, [], Plan(), saving)


def test_every_source_of_every_variant_is_in_the_snapshot():
    before = Snapshot()
    variants = [v for known in discover().variants.values() for v in known.values()]
    assert all(before.changed(v) == [] for v in variants)
    assert {p.resolve() for v in variants for p in sources(v.path)} <= set(before.files)


def test_a_source_outside_the_known_folders_counts_as_changed_once_it_is_written(tmp_path):
    folder = tmp_path / "variants"
    folder.mkdir()
    (folder / "cuda_adds.py").write_text(CUDA)
    (folder / "cuda_adds.cu").write_text('#include "../common.cuh"\n')
    (tmp_path / "common.cuh").write_text(HEADER)
    variant = discover(folder).variant("residual", "cuda_adds")
    written_ns = (tmp_path / "common.cuh").stat().st_ctime_ns
    before = Snapshot((folder,), taken_ns=written_ns)
    assert before.changed(variant) == []
    assert Snapshot((folder,), taken_ns=written_ns - 1).changed(variant) == [(tmp_path / "common.cuh").resolve()]


def test_hashes_are_read_from_the_disk_each_time(tmp_path):
    path = written(tmp_path)
    variant = discover(tmp_path).variant("softmax", "numpy_soft")
    hashes = [source_hash(variant)]
    stat = path.stat()
    path.write_text(path.read_text().replace("Softmax.", "Softmax!"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # same size and same time
    hashes.append(source_hash(variant))
    assert hashes[0] != hashes[1]


def test_paths_of_the_project_are_named_from_its_root(reference_cache, monkeypatch):
    path = ROOT / "kernels" / "softmax" / "spec.py"
    monkeypatch.setattr(Snapshot, "changed", lambda _, __: [path])
    with Worker() as worker:
        proof = prove(discover().variant("softmax", "numpy"), worker, Plan(examples=6), reference_cache)
    assert "proven: kernels/softmax/spec.py;" in proof.message
