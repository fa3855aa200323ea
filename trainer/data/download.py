"""Download a file once, check its SHA-256, and keep it."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from contextlib import suppress
from typing import TYPE_CHECKING

from registry.errors import CrucibleError
from trainer.data.token_files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["fetch"]

TIMEOUT_SECONDS = 30


def fetch(url: str, sha256: str, path: Path) -> bytes:
    """Return the content of `url`: from `path` if the file there is complete, else by a download that is content in `path`.

    Raises
    ------
    CrucibleError
        The download fails or has another SHA-256. The message names other values of ``--data``.
    """
    with suppress(OSError):
        cached = path.read_bytes()
        if hashlib.sha256(cached).hexdigest() == sha256:
            return cached
    instead = f"save it as {path}, or train on another text with --data FILE or --data embedded"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310 (an https address of ours)
            content: bytes = response.read()
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise CrucibleError(f"cannot download {url} ({reason}); {instead}") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise CrucibleError(
            f"{url} has changed or the download is damaged: SHA-256 {digest[:12]}..., not {sha256[:12]}...; {instead}"
        )
    with write_atomically(path) as draft:
        draft.write_bytes(content)
    return content
