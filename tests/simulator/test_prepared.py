"""The cache of translated kernels: each kernel is parsed and translated once."""

import numpy as np
import pytest

from simulator import ahead, prepared
from simulator import module as module_
from simulator.errors import CompileError
from simulator.module import Module
from simulator.ptx import parse

CODE = """
extern "C" __global__ void doubled(const float* x, float* y) { y[threadIdx.x] = 2 * x[threadIdx.x]; }
extern "C" __global__ void tripled(const float* x, float* y) { y[threadIdx.x] = 3 * x[threadIdx.x]; }
"""


@pytest.fixture
def launched(tmp_path, monkeypatch):
    """Return a function that compiles a module, launches its two kernels and returns the names of the translated kernels."""
    path = tmp_path / "kernels.cu"
    path.write_text(CODE)
    monkeypatch.setattr(module_, "KERNELS", tmp_path / "kernels")
    translated = []
    honest = prepared.translate

    def translate(kernel, *arguments, **options):
        translated.append(kernel.name)
        return honest(kernel, *arguments, **options)

    monkeypatch.setattr(prepared, "translate", translate)

    def launch(mode="fast"):
        translated.clear()
        module = Module.from_source(path)
        x = np.arange(32, dtype=np.float32)
        for name, factor in {"doubled": 2, "tripled": 3}.items():
            y = np.zeros_like(x)
            assert module.kernel(name).launch(1, 32, (x, y), mode=mode).status == "ok"
            np.testing.assert_array_equal(y, factor * x)
        return list(translated)

    return launch


def test_a_kernel_is_translated_once_for_each_mode(launched):
    assert launched() == ["doubled", "tripled"]
    assert launched() == []
    assert launched("checked") == ["doubled", "tripled"]
    assert launched("checked") == []
    assert launched() == []


def test_a_damaged_file_is_written_again(launched, tmp_path):
    launched()
    first, second = sorted((tmp_path / "kernels").glob("*/*"))
    first.write_bytes(first.read_bytes()[:100])
    second.write_bytes(b"")
    assert launched() == ["doubled", "tripled"]
    assert launched() == []


def test_files_of_another_version_of_the_simulator_are_not_used_and_deleted(launched, monkeypatch, tmp_path):
    launched()
    monkeypatch.setattr(prepared, "VERSION", "another")
    assert launched() == ["doubled", "tripled"]
    assert [folder.name for folder in (tmp_path / "kernels").iterdir()] == ["another"]


def test_a_cache_that_cannot_be_written_does_not_matter(launched, tmp_path):
    (tmp_path / "kernels").write_text("no folder")
    assert launched() == ["doubled", "tripled"]


def test_a_kernel_that_could_not_be_read_is_read_anew_each_time():
    text = ".version 8.0\n.target sm_80\n.address_size 64\n.entry k { .reg .b32 %r<2>; mov.u32 %r1, 1; frob; bra nowhere; }"
    kernels = parse(text).kernels
    for _ in range(2):
        with pytest.raises(CompileError, match="no label 'nowhere'"):
            _ = kernels["k"]


def test_a_kernel_is_read_at_its_first_use():
    text = ".version 8.0\n.target sm_80\n.address_size 64\n"
    module = parse(text + '.entry good { ret; } // } "\n.entry bad {\n frob; }\n.entry other { /* } */ ret; }')
    assert list(module.kernels) == ["good", "bad", "other"]
    assert [i.name for i in module.kernels["other"].instructions] == ["ret"]
    assert module.kernels["good"] is module.kernels["good"]
    with pytest.raises(CompileError, match="line 6"):
        _ = parse(text + ".entry good { ret; }\n.entry bad {\n %r1 = 3; }").kernels["bad"]


def test_a_kernel_that_was_compiled_ahead_is_only_loaded(launched, monkeypatch, tmp_path):
    monkeypatch.setattr(ahead, "KERNELS", tmp_path / "kernels")
    path = tmp_path / "kernels.cu"
    ahead.compile_kernels([(path, (), "tripled"), (path, (), "missing"), (path, ("-DX=]",), "doubled"), (path, (), "doubled")])
    assert launched() == []
    assert launched("checked") == []
    monkeypatch.setattr(ahead, "Module", None)  # nothing is even read again
    ahead.compile_kernels([(path, (), "tripled"), (path, (), "doubled")])
