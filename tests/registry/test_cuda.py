"""The arrays of a launch decide where it runs: numpy arrays in the simulator, CuPy arrays on a GPU. Faults are errors."""

import subprocess
import sys
from types import MappingProxyType, ModuleType, SimpleNamespace

import numpy as np
import pytest

from registry import ContractError
from registry.cuda import INCLUDE, CudaKernel, SimulatedFault, compile_ahead, launch, simulation
from registry.dtypes import BFLOAT16
from registry.paths import ROOT
from registry.table import discover


class Recorder:
    """Stands in for a module of the simulator or of CuPy, and records how it was built and called."""

    def __init__(self, findings=(), status="ok"):
        self.made, self.calls, self.functions = [], [], []
        self.done = SimpleNamespace(status=status, findings=list(findings))

    def from_source(self, path, *, options, include):
        """Stand in for `simulator.Module.from_source`."""
        self.made.append((path, options, include))
        return self

    def kernel(self, name):
        """Stand in for `simulator.Module.kernel`."""

        def run(*args, **options):
            self.calls.append((name, args, options))
            return self.done

        return SimpleNamespace(launch=run)

    def raw_module(self, *, code, options):
        """Stand in for `cupy.RawModule`."""
        self.made.append((code, options))
        return self

    def get_function(self, name):
        """Stand in for `cupy.RawModule.get_function`."""
        function = Function(name, self.calls)
        self.functions.append(function)
        return function


class Function:
    """Stands in for `cupy.RawKernel`."""

    max_dynamic_shared_size_bytes = 48 * 1024

    def __init__(self, name, calls):
        self.name, self.calls = name, calls

    def __call__(self, grid, block, args, *, shared_mem=0):
        """Stand in for a launch."""
        self.calls.append((self.name, grid, block, args, shared_mem))


class OnGpu:
    """Stands in for `cupy.ndarray`."""

    __cuda_array_interface__ = MappingProxyType({"version": 3})


@pytest.fixture
def simulator(monkeypatch):
    """Put a recorder in the simulator's place."""

    def install(**options):
        recorder = Recorder(**options)
        module = ModuleType("simulator")
        module.Module = recorder
        monkeypatch.setitem(sys.modules, "simulator", module)
        return recorder

    return install


@pytest.fixture
def cupy(monkeypatch):
    """Put a recorder in CuPy's place."""
    recorder = Recorder()
    module = ModuleType("cupy")
    module.RawModule = recorder.raw_module
    monkeypatch.setitem(sys.modules, "cupy", module)
    return recorder


@pytest.fixture
def kernel(tmp_path):
    """Return a kernel with a source file beside its variant."""
    (tmp_path / "cuda_mine.cu").write_text("the source")
    return CudaKernel(str(tmp_path / "cuda_mine.py"), "mine", ("-DSIDE=8",))


def test_cpu_arrays_go_to_the_simulator(simulator, kernel):
    recorder, x = simulator(), np.zeros(3, np.float32)
    launch(kernel, 2, (32, 4), (x, 3, 0.5), shared=128)
    assert recorder.made == [(kernel.source, ("-DSIDE=8",), (INCLUDE,))]
    [(name, (grid, block, args), options)] = recorder.calls
    assert (name, grid, block) == ("mine", (2,), (32, 4))
    assert args[0] is x
    assert options == {"shared": 128, "mode": "fast", "order": "ascending", "unwritten": ()}


def test_float_x_is_the_dtype_of_the_float_arrays_of_the_call(simulator, kernel):
    recorder = simulator()
    launch(kernel, 1, 1, (np.zeros(1, np.float32), np.zeros(1, BFLOAT16), 3))
    launch(kernel, 1, 1, (np.zeros(1, np.float32), np.zeros(1, np.int32), 3))
    assert [options for _, options, _ in recorder.made] == [("-DSIDE=8", "-DFLOATX=bf16"), ("-DSIDE=8",)]


def test_a_module_is_compiled_once(simulator, kernel):
    recorder = simulator()
    for _ in range(2):
        launch(kernel, 1, 1, (np.zeros(1),))
    assert len(recorder.made) == 1
    assert len(recorder.calls) == 2


def test_simulation_sets_the_mode_and_the_order_and_collects_launches(simulator, kernel):
    recorder, x = simulator(), np.zeros(1)
    with simulation(mode="checked", order=7) as launches:
        launch(kernel, 1, 1, (x,))
        with simulation(order="descending") as inner:
            launch(kernel, 1, 1, (x,))
    launch(kernel, 1, 1, (x,))
    assert [(o["mode"], o["order"]) for _, _, o in recorder.calls] == [
        ("checked", 7),
        ("fast", "descending"),
        ("fast", "ascending"),
    ]
    assert (launches, inner) == ([recorder.done], [recorder.done])


def test_the_first_launch_that_receives_an_output_must_write_it(simulator, kernel):
    recorder, x, y, workspace = simulator(), np.zeros(2), np.zeros(2), np.zeros(8)
    with simulation(unwritten=[y, workspace]):
        launch(kernel, 1, 1, (x, workspace[4:], 3))
        launch(kernel, 1, 1, (workspace, y))
        launch(kernel, 1, 1, (y,))
    assert [o["unwritten"] for _, _, o in recorder.calls] == [(1,), (1,), ()]


def finding(kind, **more):
    """Return a finding as the simulator reports it."""
    return SimpleNamespace(kind=kind, message="two threads write one element", path="", line=0, **more)


@pytest.mark.parametrize(
    ("status", "findings", "message"),
    [
        ("ok", [finding("race")], "^race: two threads"),
        ("trap", [finding("race"), finding("trap")], r"^trap: .* \(and 1 more findings\)$"),
    ],
)
def test_a_finding_of_the_simulator_is_raised_with_its_kind(simulator, kernel, status, findings, message):
    simulator(status=status, findings=findings)
    with simulation() as launches, pytest.raises(SimulatedFault, match=message) as caught:
        launch(kernel, 1, 1, (np.zeros(1),))
    assert caught.value.findings == findings
    assert len(launches) == 1


def test_a_fault_names_the_line_of_the_source(simulator, kernel):
    found = finding("race")
    found.path, found.line = "somewhere/cuda_mine.cu", 12
    simulator(findings=[found])
    with pytest.raises(SimulatedFault, match=r"^race: cuda_mine\.cu:12: two threads"):
        launch(kernel, 1, 1, (np.zeros(1),))


def test_every_finding_is_reported_in_one_line(simulator, kernel):
    where = {"block": 2, "thread": 33, "code": "  x[i] = 1;"}
    found = [finding("race", **where, count=1), finding("out_of_bounds", **where, count=7)]
    found[1].path, found[1].line = str(ROOT / "kernels" / "mine.cu"), 5
    simulator(findings=found)
    with pytest.raises(SimulatedFault) as caught:
        launch(kernel, 1, 1, (np.zeros(1),))
    assert caught.value.lines() == [
        "PTX: race: two threads write one element (block 2, thread 33): x[i] = 1;",
        "kernels/mine.cu:5: out_of_bounds: two threads write one element (block 2, thread 33, 7 times): x[i] = 1;",
    ]


def test_arrays_of_a_gpu_go_to_cupy_with_scalars_of_a_known_size(cupy, kernel):
    x = OnGpu()
    launch(kernel, (2, 3), 64, (x, 5, True, 0.5, np.float64(2), np.int32(1)))
    [(code, options)] = cupy.made
    assert code == "the source"
    assert {f"-I{INCLUDE}", "-DSIDE=8"} <= set(options)
    [(name, grid, block, args, shared)] = cupy.calls
    assert (name, grid, block, shared) == ("mine", (2, 3), (64,), 0)
    assert args[0] is x
    assert [type(a) for a in args[1:]] == [np.int64, np.int64, np.float32, np.float64, np.int32]


@pytest.mark.parametrize(("shared", "allowed"), [(48 * 1024, 48 * 1024), (64 * 1024, 64 * 1024)])
def test_shared_memory_above_the_default_limit_is_requested(cupy, kernel, shared, allowed):
    launch(kernel, 1, 32, (OnGpu(),), shared=shared)
    assert cupy.functions[0].max_dynamic_shared_size_bytes == allowed
    assert cupy.calls[0][-1] == shared


def test_an_edited_header_is_compiled_again(cupy, kernel, monkeypatch, tmp_path):
    made = []
    for text in ("one", "two"):
        folder = tmp_path / text
        folder.mkdir()
        (folder / "crucible.cuh").write_text(text)
        monkeypatch.setattr("registry.cuda.INCLUDE", folder)
        launch(CudaKernel(kernel.file, "mine", (f"-D{text}",)), 1, 1, (OnGpu(),))
        made.append([o for o in cupy.made[-1][1] if o.startswith("-DCRUCIBLE_HEADERS=")])
    assert made[0] != made[1]


@pytest.mark.parametrize(("args", "message"), [((1, 2.0), "no array"), ((np.zeros(1), OnGpu()), "the CPU and of a GPU")])
def test_a_launch_without_a_device_is_refused(kernel, args, message):
    with pytest.raises(ContractError, match=message):
        launch(kernel, 1, 1, args)


def test_importing_the_launcher_needs_neither_cupy_nor_the_simulator():
    code = "import sys, registry.cuda; print('cupy' in sys.modules, 'simulator' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_compile_ahead_compiles_every_kernel_of_the_file_in_every_dtype(monkeypatch):
    asked = []
    monkeypatch.setattr("simulator.compile_kernels", lambda wanted, include: asked.append((list(wanted), include)))
    variant = discover().variant("attention_backward", "cuda_flash")
    compile_ahead(variant)
    ((wanted, include),) = asked
    parts = ["along", *(f"{walk}_{head}" for walk in ("queries", "keys") for head in (32, 64, 96))]
    names = [f"attention_backward_{part}" for part in parts]
    source = variant.path.with_suffix(".cu")
    assert wanted == [(source, build, name) for name in names for build in ((), ("-DFLOATX=bf16",))][::-1]
    assert include == (INCLUDE,)
