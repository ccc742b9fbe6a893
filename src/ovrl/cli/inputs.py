"""What a command reads, described for its manifest."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ovrl import store
from ovrl.curate.sources.reader import NamedReader
from ovrl.errors import UsageError
from ovrl.manifest import Identity, describe_together
from ovrl.plugins import file_digests
from ovrl.records import Sample
from ovrl.rejects import Rejects
from ovrl.rows import is_remote
from ovrl.selection import Selection

_EDGE = 1 << 20  # bytes read at each end of a weight file: training changes every tensor


def describe_inputs(*sources: str, model: str | None = None, engine: str = "hf") -> dict[str, dict[str, Any]]:
    """Return path -> digest and rows for data, and a digest of the model.

    Raises:
        UsageError: a path does not exist.
    """
    described: dict[str, dict[str, Any]] = {}
    for source in sources:
        described[source] = _describe(source)
    if model is not None:  # the scripted engine's model is its reply, not a directory
        digest = f"reply {model}" if engine == "fake" else _model_digest(model)
        described[model] = {"sha256": digest, "rows": None}
    return described


def _describe(source: str) -> dict[str, Any]:
    """Return digest and rows of one source; of stdin and of the hub nothing is known before it is read."""
    if source == "-" or is_remote(source):
        return {"sha256": None, "rows": None}
    if not Path(source).exists() and (found := store.matches(source)):
        return describe_together({str(path): path for path in found if path.is_file()})
    return store.describe(Path(source))


class Samples:
    """The samples that a command of `ovrl data` reads, as its flags say."""

    def __init__(self, source: str, origin: str | None, images: Path | None, *, seed: int) -> None:
        """Look the source up and describe it.

        Args:
            source: what is read; see `rows.read_parts`.
            origin: layout or data set, or None to recognise the layout.
            images: folder of relative image paths, or None.
            seed: of the choices that a data set's source makes.

        Raises:
            UsageError: the source or the origin does not exist.
        """
        self._source, self._origin, self._images, self._seed = source, origin, images, seed
        self._reader = None if origin is None else NamedReader(origin, seed=seed)
        if images is not None and not images.is_dir():
            raise UsageError(f"--images {images} is not a directory")
        self._described = describe_inputs(source)
        self.rows: int | None = self._described[source]["rows"]

    def __call__(self, rejects: Rejects, selection: Selection) -> Iterator[Sample]:
        """Yield the samples; bad records go to `rejects`."""
        from ovrl.samples import read_samples  # brings the libraries of images

        return read_samples(self._source, rejects, selection, reader=self._reader, images=self._images)

    def skipped(self) -> dict[str, int]:
        """Return how many rows were no part of the data set, for a summary; {} when there are none."""
        return {"skipped": self._reader.skipped} if self._reader is not None and self._reader.skipped else {}

    def identity(
        self,
        command: str,
        given: dict[str, Any],
        selection: Selection,
        *,
        argv: Sequence[str],
        others: Sequence[str] = (),
    ) -> Identity:
        """Return what an output of these samples is made from; `given` are the flags that decide it."""
        shown = {"limit": selection.limit, "shard": list(selection.shard)}
        return Identity(
            command=command,
            settings=given | shown | file_digests(given),
            inputs=self._described | describe_inputs(*others),
            seed=self._seed,
            argv=argv,
            limited=selection.partial,
        )


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
