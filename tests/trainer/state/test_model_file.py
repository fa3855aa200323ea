"""Checkpoints: `load` returns the saved bits, a failed save keeps the older file, and files of other models are refused."""

import json
import stat

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from models import find
from registry.errors import CrucibleError, RequestError
from trainer.state import model_file
from trainer.state.model_file import load, save

MODEL = find("gpt2-nano")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda x: st.lists(x, max_size=3),
    max_leaves=5,
)


def tensors(seed=0, **shapes):
    """Return arrays of random bits, some of them NaN."""
    shapes = shapes or {"wte": (5, 3), "wpe": (0, 3), "lnfw": (3,)}
    random = np.random.default_rng(seed)
    return {name: random.integers(0, 2**32, shape, np.uint32).view(np.float32) for name, shape in shapes.items()}


@settings(deadline=None)  # files are written
@given(metadata=st.dictionaries(st.text(), JSON, max_size=4), seed=st.integers(0, 99))
def test_what_is_saved_is_loaded_to_the_bit(tmp_path_factory, metadata, seed):
    folder = tmp_path_factory.mktemp("out") / "new" / "folder"
    saved, loaded = tensors(seed), tensors(seed + 1)
    path = save(folder, MODEL, saved, metadata)
    assert path == folder / "model.safetensors"
    assert load(folder, loaded) == metadata
    assert all(saved[name].tobytes() == loaded[name].tobytes() for name in saved)
    assert [p.name for p in folder.iterdir()] == ["model.safetensors"]


def test_other_programs_can_read_it(tmp_path):
    saved = tensors()
    loaded = load_file(save(tmp_path, MODEL, saved, {}))
    assert {name: array.tobytes() for name, array in loaded.items()} == {name: array.tobytes() for name, array in saved.items()}


def test_it_is_as_readable_as_any_new_file(tmp_path):
    (tmp_path / "other").touch()
    mode = stat.S_IMODE((tmp_path / "other").stat().st_mode)
    assert stat.S_IMODE(save(tmp_path, MODEL, tensors(), {}).stat().st_mode) == mode


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_save_leaves_the_good_file_alone(tmp_path, monkeypatch, error):
    good = save(tmp_path, MODEL, tensors(), {"step": 1}).read_bytes()

    def half(_, draft, *__):
        draft.write_bytes(b"half")
        raise error

    monkeypatch.setattr(model_file, "save_file", half)
    with pytest.raises((CrucibleError, KeyboardInterrupt), match=r"^(cannot write .*: No space left on device)?$"):
        save(tmp_path, MODEL, tensors(1), {"step": 2})
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [good]


def test_strided_tensors_are_refused_rather_than_scrambled(tmp_path):
    with pytest.raises(ValueError, match="'wte' is not contiguous"):
        save(tmp_path, MODEL, {"wte": np.zeros((3, 4), np.float32).T}, {})


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        ({"wte": (5, 3)}, "holds gpt2-nano: it also has the tensors wpe"),
        ({"wte": (5, 3), "wpe": (2, 3), "qkvw": (1,), "fcw": (1,)}, "holds gpt2-nano: it lacks the tensors fcw, qkvw"),
        ({"wte": (5, 4), "wpe": (2, 3)}, r"holds gpt2-nano: wte has shape \(5, 3\), this model's is \(5, 4\)"),
    ],
)
def test_another_model_is_refused_before_anything_changes(tmp_path, wanted, complaint):
    save(tmp_path, MODEL, tensors(wte=(5, 3), wpe=(2, 3)), {})
    into = tensors(9, **wanted)
    before = {name: array.tobytes() for name, array in into.items()}
    with pytest.raises(RequestError, match=complaint):
        load(tmp_path, into)
    assert {name: array.tobytes() for name, array in into.items()} == before


def test_a_file_of_another_program_or_dtype_is_refused(tmp_path):
    save_file({"wte": np.zeros((5, 3), np.float16)}, tmp_path / "model.safetensors")
    with pytest.raises(RequestError, match="holds a model of another program: wte is stored as F16, expected F32"):
        load(tmp_path, tensors(wte=(5, 3)))


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 100])
def test_a_damaged_file_is_one_clear_line(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(RequestError, match="is damaged or not a safetensors file") as caught:
        load(tmp_path, tensors())
    assert "\n" not in str(caught.value)


def test_a_file_cut_short_is_one_clear_line(tmp_path):
    path = save(tmp_path, MODEL, tensors(), {})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RequestError, match="is damaged or not a safetensors file"):
        load(tmp_path, tensors())


def test_no_checkpoint_is_one_clear_line(tmp_path):
    with pytest.raises(RequestError, match=r"there is no model '.*model\.safetensors'"):
        load(tmp_path, tensors())


def test_the_model_s_shape_is_written_down(tmp_path):
    from safetensors import safe_open

    with safe_open(save(tmp_path, MODEL, tensors(), {}), framework="numpy") as file:
        assert json.loads(file.metadata()["model"]) == MODEL.describe()


def test_model_files_of_all_programs_are_found(tmp_path):
    assert model_file.saved_in(tmp_path / "none") == []
    (tmp_path / "notes.txt").touch()
    assert model_file.saved_in(tmp_path) == []
    (tmp_path / "other.safetensors").touch()
    path = save(tmp_path, MODEL, tensors(), {})
    assert model_file.saved_in(tmp_path) == [path, tmp_path / "other.safetensors"]
