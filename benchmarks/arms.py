"""The arms of ``python -m benchmarks.step``: their names, the environments of their processes, and where they can run."""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import mkl_avx512
from registry.errors import RequestError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["ARMS", "CRUCIBLE", "Arm", "choose_arms", "environment_of", "left_out"]


@dataclass(frozen=True)
class Arm:
    """One arm of the benchmark.

    Attributes
    ----------
    torch : bool
        Whether torch runs the step, with its fused attention, its GELU and its fused AdamW. Otherwise Crucible runs it.
    compiled : bool
        Whether ``torch.compile`` compiles the model, with its default options.
    avx512 : bool
        Whether a preloaded library makes MKL use its AVX-512 code on a processor of another maker than Intel.
    """

    name: str
    torch: bool = True
    compiled: bool = False
    avx512: bool = False


CRUCIBLE = "crucible"
ARMS = {
    arm.name: arm
    for arm in (
        Arm(CRUCIBLE, torch=False),
        Arm("torch"),
        Arm("torch-compile", compiled=True),
        Arm("torch-avx512", avx512=True),
        Arm("torch-compile-avx512", compiled=True, avx512=True),
    )
}


def choose_arms(text: str) -> list[Arm]:
    """Return the arms that `text` names, separated by commas, each once.

    Raises
    ------
    UnknownNameError
        An arm does not exist. The message offers the nearest name.
    RequestError
        The text names no arm, or an arm needs torch, which is not installed.
    """
    names = list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    for name in names:
        if name not in ARMS:
            raise UnknownNameError("arm", name, ARMS)
    if not names:
        raise RequestError(f"--arms {text!r} names no arm; known: {', '.join(ARMS)}")
    chosen = [ARMS[name] for name in names]
    needed = [arm.name for arm in chosen if arm.torch]
    if needed and importlib.util.find_spec("torch") is None:
        raise RequestError(f"torch is not installed, and these arms need it: {', '.join(needed)}; install it with: make setup")
    return chosen


def left_out(chosen: Iterable[Arm], folder: Path) -> dict[str, str]:
    """Return the chosen arms that cannot run on this machine, each with the reason.

    Parameters
    ----------
    folder : Path
        The folder in which the preloaded library is built.
    """
    chosen = list(chosen)
    avx512 = mkl_avx512.obstacle(folder) if any(arm.avx512 for arm in chosen) else ""
    compiler = os.environ.get("CXX", "g++")
    cpp = "" if shutil.which(compiler) else f"torch.compile needs a C++ compiler, and {compiler!r} is not installed"
    reasons = {arm.name: (arm.compiled and cpp) or (arm.avx512 and avx512) or "" for arm in chosen}
    return {name: reason for name, reason in reasons.items() if reason}


def environment_of(arm: Arm, folder: Path, caches: Path | None) -> dict[str, str]:
    """Return the environment variables of an arm's process, in addition to the variables of this process.

    Parameters
    ----------
    folder : Path
        The folder of the preloaded library.
    caches : Path, optional
        A folder for torch's compiler caches. Default: the user's folder.
    """
    inductor = {"TORCHINDUCTOR_CACHE_DIR": str(caches)} if arm.torch and caches else {}
    return inductor | (mkl_avx512.preloaded(folder / mkl_avx512.LIBRARY) if arm.avx512 else {})
