"""Arguments of a run that the references train in a moment."""

import functools

import pytest

from models import MODELS
from tests.trainer.tiny import PICO
from trainer import session
from trainer.data.dataset import open_data
from trainer.sampling import sample

TEXT = "To be, or not to be, that is the question.\n\n" * 200


@pytest.fixture
def pico(monkeypatch, tmp_path):
    """Add a tiny model and a text; return the arguments of a run that the references train in a moment."""
    monkeypatch.setitem(MODELS, PICO.name, PICO)
    monkeypatch.setattr(session, "open_data", functools.partial(open_data, cache=tmp_path / "cache"))
    monkeypatch.setattr(session, "sample", lambda logits, prompt, _, *rest, **more: sample(logits, prompt, 5, *rest, **more))
    text = tmp_path / "text.txt"
    text.write_text(TEXT)
    out, results = tmp_path / "out", tmp_path / "results"
    return [
        f"--{k}={v}" for k, v in {"model": PICO.name, "kernels": "numpy", "data": text, "out": out, "results": results}.items()
    ]
