"""A proof's hash covers everything under kernels/ that the variant uses."""

from registry import discover
from registry.fingerprint import contract_hash, source_hash, sources
from registry.machine import versions
from registry.paths import ROOT
from registry.records import Evidence, Store


def test_shared_code_and_the_contract_are_part_of_the_hash():
    variant = discover().variant("layer_norm", "numba_rows")
    names = {str(p.relative_to(ROOT)) for p in sources(variant.path)}
    assert {"kernels/layer_norm/numba_rows.py", "kernels/layer_norm/spec.py", "kernels/simd/__init__.py"} <= names


def test_a_header_that_two_ops_share_is_part_of_the_hashes_of_both():
    for op in ("layer_norm_backward", "residual_layer_norm_backward"):
        names = {p.name for p in sources(discover().variant(op, "cuda_warp").path)}
        assert {"cuda_warp.cu", "layer_norm_backward.cuh", "partials.cuh", "crucible.cuh"} <= names


def test_evidence_is_stale_after_a_change_of_a_header_that_another_header_includes(tmp_path):
    own = discover().variant("layer_norm_backward", "cuda_warp")
    texts = {p.name: p.read_text() for p in sources(own.path) if p.suffix in {".cu", ".cuh"}}
    text = own.path.read_text().replace("cuda_warp", "cuda_copy")
    written = {"cuda_copy.py": text, "cuda_copy.cu": texts.pop("cuda_warp.cu"), **texts}
    for name, content in written.items():
        (tmp_path / name).write_text(content)
    variant, store = discover(tmp_path).variant("layer_norm_backward", "cuda_copy"), Store(tmp_path / "results")
    about = {
        "op": variant.op.name,
        "variant": variant.name,
        "device": "sim",
        "status": "passed",
        "problems": 40,
        "versions": versions("sim"),
    }
    store.add_evidence(Evidence(**about, source=source_hash(variant), contract=contract_hash(variant.op)))
    assert store.proof(variant, "sim").status == "passed"
    header = tmp_path / "partials.cuh"
    header.write_text(header.read_text().replace("accumulate ? gradient + sum : sum", "sum"))
    assert store.proof(variant, "sim") is None


def test_a_changed_comment_changes_the_hash(tmp_path):
    text = discover().variant("layer_norm", "numba_rows").path.read_text()
    hashes = []
    for name, added in (("a", ""), ("b", "# one more line\n")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "numba_copy.py").write_text(text.replace("numba_rows", "numba_copy") + added)
        hashes.append(source_hash(discover(folder).variant("layer_norm", "numba_copy")))
    assert hashes[0] != hashes[1]
