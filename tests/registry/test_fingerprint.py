"""A proof's hash covers everything under kernels/ that the variant uses."""

from registry import discover
from registry.fingerprint import source_hash, sources
from registry.table import ROOT


def test_shared_code_and_the_contract_are_part_of_the_hash():
    variant = discover().variant("layer_norm", "numba_rows")
    names = {str(p.relative_to(ROOT)) for p in sources(variant.path)}
    assert {"kernels/layer_norm/numba_rows.py", "kernels/layer_norm/spec.py", "kernels/simd/__init__.py"} <= names


def test_a_changed_comment_changes_the_hash(tmp_path):
    text = discover().variant("layer_norm", "numba_rows").path.read_text()
    hashes = []
    for name, added in (("a", ""), ("b", "# one more line\n")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "numba_copy.py").write_text(text.replace("numba_rows", "numba_copy") + added)
        hashes.append(source_hash(discover(folder).variant("layer_norm", "numba_copy")))
    assert hashes[0] != hashes[1]
