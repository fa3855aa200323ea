"""The front end: CUDA C++ through clang, the functions that a kernel may use without any header, errors, and the cache."""

import json
import subprocess
from pathlib import Path

import pytest

from simulator import clang
from simulator.clang import compile_to_ptx
from simulator.errors import CompileError
from simulator.ptx import Special, parse

ROOT = Path(__file__).resolve().parents[2]
KERNELS = sorted((ROOT / "kernels").rglob("*.cu"))
FLOATS = "float* x, float* y, int* i, unsigned* u, double* d, long long* q, unsigned long long* w"

FEATURES = {
    "barriers": (
        """__syncthreads(); __syncwarp(); __syncwarp(0xff); i[0] = __syncthreads_count(i[1]);
        i[2] = __syncthreads_and(i[3]); i[4] = __syncthreads_or(i[5]);""",
        "bar.sync bar.warp.sync bar.red.popc.u32 bar.red.and.pred bar.red.or.pred",
    ),
    "fences": (
        """x[0] = 1; __threadfence_block(); x[1] = 2; __threadfence(); __threadfence_system();""",
        "membar.cta membar.gl",
    ),
    "shuffles": (
        """x[0] = __shfl_sync(~0u, x[1], 3); i[0] = __shfl_up_sync(~0u, i[0], 1);
        u[0] = __shfl_down_sync(~0u, u[0], 1, 16); d[0] = __shfl_xor_sync(~0u, d[0], 1);
        q[0] = __shfl_sync(~0u, q[0], 1); w[0] = __shfl_sync(~0u, w[0], 1);""",
        "shfl.sync.idx.b32 shfl.sync.up.b32 shfl.sync.down.b32 shfl.sync.bfly.b32",
    ),
    "votes": (
        """u[0] = __ballot_sync(~0u, i[0]); i[1] = __any_sync(~0u, i[1]); i[2] = __all_sync(~0u, i[2]);
        u[1] = __match_any_sync(~0u, i[3]); u[2] = __match_any_sync(~0u, q[0]); u[3] = __activemask();""",
        """vote.sync.ballot.b32 vote.sync.any.pred vote.sync.all.pred match.any.sync.b32 match.any.sync.b64
        activemask.b32""",
    ),
    "warp reductions": (
        """i[0] = __reduce_add_sync(~0u, i[0]); u[0] = __reduce_max_sync(~0u, u[0]);
        u[1] = __reduce_xor_sync(~0u, u[1]);""",
        "redux.sync.add.s32 redux.sync.max.u32 redux.sync.xor.b32",
    ),
    "integer atomics": (
        """i[0] = atomicAdd(i + 1, 2) + atomicMax(i, 3) + atomicMin(i, 4) + atomicExch(i, 5) + atomicCAS(i, 6, 7);
        i[1] = atomicSub(i, 1);
        u[0] = atomicAnd(u, 1u) + atomicOr(u, 2u) + atomicXor(u, 3u) + atomicMax(u, 4u) + atomicInc(u, 5u) + atomicDec(u, 6u);
        w[0] = atomicAdd(w, 7ull) + atomicCAS(w, 8ull, 9ull) + atomicMax(w, 1ull);""",
        """atom.global.add.u32 atom.global.max.s32 atom.global.min.s32 atom.global.exch.b32 atom.global.and.b32
        atom.global.or.b32 atom.global.xor.b32 atom.global.max.u32 atom.global.inc.u32 atom.global.dec.u32
        atom.global.add.u64""",
    ),
    "float atomics": (
        """atomicAdd(x, 1.0f); atomicAdd(d, 1.0); y[0] = atomicExch(x, 2.0f); atomicAdd_block(x + 1, 1.0f);""",
        "atom.global.add.f32 atom.global.add.f64 atom.global.exch.b32",
    ),
    "shared atomics": (
        """__shared__ int s; if (!threadIdx.x) s = 0; __syncthreads(); atomicAdd(&s, 1); __syncthreads();
        i[0] = s;""",
        "atom.shared.add.u32",
    ),
    "cached loads and stores": (
        """x[0] = __ldg(y) + __ldcs(y + 1); float4 v = __ldg((const float4*)y); __stcs((float4*)x, v);
        __stcg(i, __ldcg(i + 1));""",
        """ld.global.nc.f32 ld.global.cs.f32 ld.global.nc.v4.f32 st.global.cs.v4.f32 ld.global.cg.s32
        st.global.cg.s32""",
    ),
    "vectors": (
        """float4 v = *(float4*)x; *(float2*)y = make_float2(v.x, v.w); *(int4*)i = make_int4(1, 2, 3, 4);
        *(uint4*)u = make_uint4(1, 2, 3, i[9]); *(double2*)d = make_double2(1, 2);""",
        "ld.global.v4.b32 st.global.v2.b32 st.global.v4.b32",
    ),
    "rounding to integers": (
        """x[0] = floorf(x[0]); x[1] = ceilf(x[1]); x[2] = truncf(x[2]); x[3] = rintf(x[3]);
        x[4] = roundf(x[4]);""",
        "cvt.rmi.f32.f32 cvt.rpi.f32.f32 cvt.rzi.f32.f32 cvt.rni.f32.f32",
    ),
    "arithmetic": (
        """x[0] = sqrtf(x[0]); x[1] = rsqrtf(x[1]); x[2] = fmaf(x[2], x[3], x[4]); x[5] = fmaxf(x[5], y[0]);
        x[6] = fminf(x[6], y[0]); x[7] = fabsf(x[7]); x[8] = y[1] / y[2]; d[0] = sqrt(d[0]);
        d[1] = fma(d[1], d[2], d[3]); x[9] = copysignf(x[9], y[1]);""",
        "sqrt.rn.f32 rsqrt.approx.f32 fma.rn.f32 max.f32 min.f32 abs.f32 div.rn.f32 sqrt.rn.f64 fma.rn.f64",
    ),
    "approximations": (
        """x[0] = __expf(x[0]); x[1] = __logf(x[1]); x[2] = __fdividef(x[2], x[3]); x[4] = __sinf(x[4]);
        x[5] = __cosf(x[5]); x[6] = __saturatef(x[6]); x[7] = __powf(x[7], 2.5f); x[8] = __tanhf(x[8]);""",
        """ex2.approx.f32 lg2.approx.f32 div.approx.f32 sin.approx.f32 cos.approx.f32 cvt.sat.f32.f32
        tanh.approx.f32""",
    ),
    "rounded arithmetic": (
        """x[0] = __frcp_rn(x[0]); x[1] = __fadd_rz(x[1], y[0]); x[2] = __fmul_ru(x[2], y[0]);
        x[3] = __fsqrt_rd(x[3]); i[0] = __float2int_rn(x[4]); u[0] = __float2uint_rz(x[5]);
        x[6] = __int2float_rn(i[1]); x[7] = __double2float_rd(d[0]);""",
        """rcp.rn.f32 add.rz.f32 mul.rp.f32 sqrt.rm.f32 cvt.rni.s32.f32 cvt.rzi.u32.f32 cvt.rn.f32.s32
        cvt.rm.f32.f64""",
    ),
    "integers": (
        """i[0] = __popc(u[0]); i[1] = __clz(i[1]); i[2] = __ffs(i[2]); u[1] = __brev(u[1]);
        u[2] = __umulhi(u[2], u[3]); i[3] = __popcll(w[0]); i[4] = __clzll(q[0]);
        i[5] = __mulhi(i[5], i[6]); u[4] = __byte_perm(u[4], u[5], u[6]);
        u[7] = __funnelshift_l(u[7], u[8], u[9]); w[1] = __brevll(w[1]);
        i[7] = abs(i[7]) + min(i[8], 3) + max(u[0], 4u);""",
        "popc.b32 clz.b32 brev.b32 mul.hi.u32 popc.b64 clz.b64 mul.hi.s32 prmt.b32 shf.l.wrap.b32 brev.b64",
    ),
    "reinterpretation": (
        """i[0] = __float_as_int(x[0]) + 1; x[1] = __int_as_float(i[1] + 1);
        u[0] = __float_as_uint(x[2]) >> 16; x[3] = __uint_as_float(u[1] << 16);
        q[0] = __double_as_longlong(d[0]) + 1; x[4] = INFINITY; x[5] = NAN;""",
        "ld.global.b32 st.global.b64",
    ),
    "address spaces": (
        """__shared__ float s[4]; s[0] = x[0]; float* p = i[0] ? s : y;
        u[0] = (unsigned)__cvta_generic_to_shared(p); u[1] = __isShared(p);""",
        "isspacep.shared cvta.to.shared.u64",
    ),
    "assert, printf and trap": (
        """assert(i[0] > 0); if (i[1]) printf("%d", i[1]); if (i[2]) __trap(); __nanosleep(10);""",
        "call.uni trap nanosleep.u32",
    ),
}
HOST = {
    "exp exp2 exp10 expm1 log log2 log10 log1p sin cos tan asin acos atan sinh cosh tanh erf erfc cbrt": "{}",
    "pow fmod atan2 hypot": "{0}, {0}",
}


def write(folder, code, name="k.cu"):
    """Write a source file and return its path."""
    path = folder / name
    path.write_text(code)
    return path


def compiled(folder, code, **keywords):
    """Return the module that a source text becomes."""
    return parse(compile_to_ptx(write(folder, code), cache=None, **keywords))


def kernel_of(folder, body):
    """Return the kernel with that body, whose parameters are one array of each type."""
    return compiled(folder, f'extern "C" __global__ void k({FLOATS}) {{ {body} }}').kernels["k"]


@pytest.fixture
def runs(monkeypatch):
    """Return the list of the compiler's calls, which grows with each call."""
    calls, run = [], subprocess.run

    def counted(command, **keywords):
        calls.append(command)
        return run(command, **keywords)

    monkeypatch.setattr(clang.subprocess, "run", counted)
    return calls


@pytest.mark.parametrize("feature", FEATURES)
def test_a_kernel_needs_no_header_for(feature, tmp_path):
    body, expected = FEATURES[feature]
    opcodes = {".".join(i.opcode) for i in kernel_of(tmp_path, body).instructions}
    assert sorted(set(expected.split()) - opcodes) == []


def test_indices_are_special_registers(tmp_path):
    body = "dim3 size = gridDim; x[threadIdx.x + blockIdx.y * blockDim.z] = size.x + warpSize;"
    read = {o.name for i in kernel_of(tmp_path, body).instructions for o in i.operands if isinstance(o, Special)}
    assert read == {"%tid.x", "%ctaid.y", "%ntid.z", "%nctaid.x"}


@pytest.mark.parametrize("names", HOST)
def test_mathematics_of_libm_in_both_precisions(names, tmp_path):
    arguments = HOST[names]
    functions = names.split()
    body = "".join(
        f"x[{n}] = {name}f({arguments.format(f'x[{n}]')}); d[{n}] = {name}({arguments.format(f'd[{n}]')});"
        f"y[{n}] = {name}({arguments.format(f'y[{n}]')});"
        for n, name in enumerate(functions)
    )
    calls = [i.operands for i in kernel_of(tmp_path, body).instructions if i.name == "call"]
    assert {call[1].name for call in calls} == {f"__nv_{name}{form}" for name in functions for form in ("", "f")}
    for results, name, inputs in calls:
        bits = 32 if name.name.endswith("f") and name.name != "__nv_erf" else 64
        assert {register.bits for register in (*results.items, *inputs.items)} == {bits}


def test_memory_of_every_space_is_declared(tmp_path):
    code = """__constant__ float weights[2] = {1.5f, -2.0f};
    __device__ int counter = 7;
    extern __shared__ float pool[];
    extern "C" __global__ void __launch_bounds__(64, 2) k(float* x, int n) {
      __shared__ float tile[32];
      float local[8];
      for (int i = 0; i < 8; i++) local[i] = x[i];
      tile[threadIdx.x] = local[n & 7] * weights[n & 1] + counter;
      __syncthreads();
      pool[n] = tile[31 - threadIdx.x]; x[n] = pool[0];
    }"""
    module = compiled(tmp_path, code)
    kernel = module.kernels["k"]
    assert module.variables["weights"].initial == b"\0\0\xc0\x3f\0\0\0\xc0"
    assert module.variables["weights"].space == "const"
    assert module.variables["counter"].initial == b"\7\0\0\0"
    assert module.variables["pool"].external
    assert sorted((v.space, v.size) for v in kernel.variables.values()) == [("local", 32), ("shared", 128)]
    assert kernel.directives == {"maxntid": (64,), "minnctapersm": (2,)}
    assert [(p.type, p.offset) for p in kernel.parameters] == [("u64", 0), ("u32", 8)]


def test_instructions_know_their_line_of_the_source(tmp_path):
    code = """__device__ float half_of(float v) {
      return v * 0.5f;
    }
    extern "C" __global__ void k(float* x) {
      float v = __shfl_xor_sync(~0u, x[threadIdx.x], 1);
      __syncthreads();

      x[threadIdx.x] = half_of(v);
    }"""
    lines = {i.name: i.location.line for i in compiled(tmp_path, code).kernels["k"].instructions if i.location}
    assert lines["shfl"] == 5
    assert lines["bar"] == 6
    assert lines["mul"] == 2
    assert lines["st"] == 8


def test_functions_that_clang_does_not_inline_are_inlined_here(tmp_path):
    code = """struct Pair { float a[4]; int n; };
    __device__ __noinline__ float sum(Pair p, int from) {
      float total = 0;
      for (int i = from; i < p.n; i++) total += p.a[i];
      return total;
    }
    extern "C" __global__ void k(float* x, Pair p) { x[0] = sum(p, threadIdx.x) + sum(p, 1); }"""
    kernel = compiled(tmp_path, code).kernels["k"]
    assert "call" not in {i.name for i in kernel.instructions}
    assert [v.space for v in kernel.variables.values()] == ["local", "local"]


def test_a_switch_may_become_a_table(tmp_path):
    cases = "".join(f"case {n}: i[{n}] = i[9] * {n + 3} ^ {n}; break;" for n in range(8))
    kernel = kernel_of(tmp_path, f"switch (i[threadIdx.x]) {{ {cases} }}")
    (block,) = (b for b in kernel.blocks if b.table)
    assert len(block.table) == 8
    assert kernel.blocks[block.table[0]].reconvergence == kernel.blocks[block.table[7]].reconvergence


@pytest.mark.parametrize("path", KERNELS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_kernel_of_the_repository_compiles(path):
    module = parse(compile_to_ptx(path, include=(ROOT / "kernels" / "cuda",)))
    assert module.kernels
    for kernel in module.kernels.values():
        assert {i.location.path for i in kernel.instructions if i.location} == {str(path)}


def test_options_and_include_folders_reach_the_compiler(tmp_path):
    (tmp_path / "headers").mkdir()
    write(tmp_path / "headers", "#define SCALE 3\n", "scale.cuh")
    code = """#include "scale.cuh"
    extern "C" __global__ void k(float* x) { __shared__ float s[SCALE * D]; s[1] = 1; x[0] = s[x > s]; }"""
    with pytest.raises(CompileError, match=r"k\.cu:1: 'scale\.cuh' file not found: `#include \"scale\.cuh\"`"):
        compiled(tmp_path, code)
    module = compiled(tmp_path, code, options=("-DD=5",), include=(tmp_path / "headers",))
    assert [v.size for v in module.kernels["k"].variables.values()] == [60]


def test_an_error_shows_place_message_and_code(tmp_path):
    code = "__global__ void k(float* x) {\n  int ok = 1;\n  x[0] = wrong + ok;\n  also_wrong();\n}\n"
    with pytest.raises(CompileError, match=r"^k\.cu:3: use of undeclared identifier 'wrong': `x\[0\] = wrong \+ ok;`$"):
        compiled(tmp_path, code)


def test_an_error_in_a_header_names_the_header(tmp_path):
    write(tmp_path, "int f() { return nothing; }\n", "inner.cuh")
    with pytest.raises(CompileError, match=r"^inner\.cuh:1: "):
        compiled(tmp_path, '#include "inner.cuh"\n')


def test_bad_options_and_missing_files_are_errors_too(tmp_path):
    with pytest.raises(CompileError, match="-fnonsense"):
        compiled(tmp_path, "", options=("-fnonsense",))
    with pytest.raises(CompileError, match=r"no such file: .*gone\.cu"):
        compile_to_ptx(tmp_path / "gone.cu", cache=tmp_path)


def test_without_a_compiler_the_message_names_the_package_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(clang.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    clang.compiler.cache_clear()  # which compiler there is was remembered
    with pytest.raises(CompileError, match="install the ziglang wheel"):
        compiled(tmp_path, "")
    clang.compiler.cache_clear()  # the same


def test_nothing_is_compiled_twice(tmp_path, runs):
    source = write(tmp_path, 'extern "C" __global__ void k(float* x) { x[0] = 1; }')
    first = compile_to_ptx(source, cache=tmp_path / "cache")
    assert compile_to_ptx(source, cache=tmp_path / "cache") == first
    assert len(runs) == 1
    compile_to_ptx(source, cache=tmp_path / "cache", options=("-DA",))
    assert len(runs) == 2
    assert compile_to_ptx(source, cache=None) == first
    assert len(runs) == 3


def test_a_change_of_the_source_or_of_a_header_compiles_anew(tmp_path, runs):
    header = write(tmp_path, "#define VALUE 1.0f\n", "value.cuh")
    source = write(tmp_path, '#include "value.cuh"\nextern "C" __global__ void k(float* x) { x[0] = VALUE; }')
    first = compile_to_ptx(source, cache=tmp_path / "cache")
    header.write_text("#define VALUE 2.0f\n")
    second = compile_to_ptx(source, cache=tmp_path / "cache")
    assert second != first
    source.write_text(source.read_text().replace("x[0]", "x[1]"))
    assert compile_to_ptx(source, cache=tmp_path / "cache") not in {first, second}
    assert len(runs) == 3
    compile_to_ptx(source, cache=tmp_path / "cache")
    assert len(runs) == 3


def test_a_file_that_is_saved_during_its_compilation_is_compiled_again(tmp_path, monkeypatch):
    source = write(tmp_path, 'extern "C" __global__ void k(float* x) { x[0] = 1; }')
    honest = clang._run  # noqa: SLF001 (there is no other moment between reading and keeping)

    def run(compiler, arguments, path):
        output = honest(compiler, arguments, path)
        path.write_text('extern "C" __global__ void k(float* x) { x[0] = 2; }')
        return output

    monkeypatch.setattr(clang, "_run", run)
    first = compile_to_ptx(source, cache=tmp_path / "cache")
    monkeypatch.undo()
    assert compile_to_ptx(source, cache=tmp_path / "cache") != first


@pytest.mark.parametrize("content", ["", "{", "[]", '{"ptx": "wrong"}', json.dumps({"read": {"/gone": "0"}, "ptx": "wrong"})])
def test_a_spoilt_cache_entry_is_replaced(content, tmp_path, runs):
    source = write(tmp_path, 'extern "C" __global__ void k(float* x) { x[0] = 1; }')
    first = compile_to_ptx(source, cache=tmp_path / "cache")
    (entry,) = (tmp_path / "cache" / "ptx").iterdir()
    entry.write_text(content)
    assert compile_to_ptx(source, cache=tmp_path / "cache") == first
    assert len(runs) == 2
    assert [path.name for path in (tmp_path / "cache" / "ptx").iterdir()] == [entry.name]


def test_a_failed_compilation_leaves_nothing_behind(tmp_path):
    with pytest.raises(CompileError):
        compile_to_ptx(write(tmp_path, "nonsense"), cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_paths_with_spaces_are_understood(tmp_path):
    folder = tmp_path / "a folder"
    folder.mkdir()
    write(folder, "#define VALUE 1.0f\n", "my value.cuh")
    source = write(folder, '#include "my value.cuh"\nextern "C" __global__ void k(float* x) { x[0] = VALUE; }')
    compile_to_ptx(source, cache=tmp_path / "cache")
    (entry,) = (tmp_path / "cache" / "ptx").iterdir()
    assert str(folder / "my value.cuh") in json.loads(entry.read_text())["read"]
