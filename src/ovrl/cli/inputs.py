"""What a command reads, described for its manifest."""

import hashlib
from pathlib import Path
from typing import Any

from ovrl import store
from ovrl.errors import UsageError
from ovrl.rejects import Rejects
from ovrl.selection import Selection

_EDGE = 1 << 20  # bytes read at each end of a weight file: training changes every tensor


def describe_inputs(*sources: str, model: str | None = None, engine: str = "transformers") -> dict[str, dict[str, Any]]:
    """Return path -> digest and rows for data, and a digest of the model.

    Raises:
        UsageError: a path does not exist.
    """
    described: dict[str, dict[str, Any]] = {}
    for source in sources:
        described[source] = {"sha256": None, "rows": None} if source == "-" else store.describe(Path(source))
    if model is not None:  # the scripted engine's model is its reply, not a directory
        digest = f"reply {model}" if engine == "fake" else _model_digest(model)
        described[model] = {"sha256": digest, "rows": None}
    return described


def count_samples(source: str, selection: Selection) -> dict[str, int]:
    """Return what a dry run says of a samples file; bad records are warnings."""
    from ovrl.samples import read_samples  # brings the libraries of images

    bad = Rejects(None)
    count = sum(1 for _ in read_samples(source, bad, selection))
    return {"samples": count, "rejected": bad.count}


def _model_digest(model: str) -> str:
    """Return a digest of names, sizes and both ends of a model's files: a full read takes minutes at 8B."""
    path = Path(model)
    if not path.is_dir():
        if path.exists() or path.is_absolute() or model.startswith(".") or model.count("/") != 1:
            raise UsageError(f"model {model!r}: no such directory, and it does not look like a hub id")
        return model
    digest = hashlib.sha256()
    for file in sorted(p for p in path.iterdir() if p.suffix in (".json", ".safetensors", ".jinja")):
        if file.name == store.MANIFEST:
            continue
        size = file.stat().st_size
        digest.update(f"{file.name}:{size}".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(_EDGE))
            stream.seek(max(0, size - _EDGE))
            digest.update(stream.read(_EDGE))
    return digest.hexdigest()
