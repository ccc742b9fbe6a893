"""Write samples in a layout: to one file, to stdout, or to a directory that grows part by part."""

import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from ovrl import codec, images, parquet, store
from ovrl.errors import RecordError, UsageError
from ovrl.layouts import LAYOUTS, Layout
from ovrl.manifest import count_rows
from ovrl.records import ImageRef, Sample
from ovrl.rejects import Rejects

IMAGES = "images"
"""The folder of image files beside the JSON lines of a layout that refers to files."""


def check_target(target: str, layout: Layout) -> None:
    """Refuse an output that the layout cannot have.

    Raises:
        UsageError: naming what it can have.
    """
    suffix = Path(target).suffix
    if target == "-" or suffix in (".jsonl", ".json"):
        if layout.name == "canonical" and suffix != ".json":
            return
        what = (
            "a folder, since its images are files"
            if layout.kept_in == "folder"
            else "parquet: FILE.parquet or a folder"
        )
        raise UsageError(f"{target}: {layout.name} is written to {what}; JSON lines are written as canonical only")
    if suffix == ".parquet" and layout.kept_in == "folder":
        raise UsageError(f"{target}: {layout.name} is written to a folder, since its images are files")


def write_lines(stream: TextIO, samples: Iterable[Sample], rejects: Rejects) -> int:
    """Write canonical JSON lines and return how many.

    Embedded images become data URIs, and image files absolute paths; `rejects` takes the samples whose files are
    missing. Files are not copied, and only looked for.
    """
    count = 0
    for sample in samples:
        missing = next(
            (ref.path for ref in sample.images if ref.data is None and not Path(ref.path or "").is_file()), None
        )
        if missing is not None:
            rejects.add(RecordError("images", f"cannot read {missing}: no such file"), record_id=sample.id)
            continue
        stream.write(store.dumps(codec.encode_sample(sample)) + "\n")
        count += 1
    return count


def write_file(path: Path, samples: Iterable[Sample], layout: Layout, rejects: Rejects, *, lines: bool) -> int:
    """Write one file and return how many samples it holds.

    Args:
        path: the file; its suffix says nothing, since it may be a partial one.
        samples: read once.
        layout: how the rows look.
        rejects: takes the samples whose images cannot be read.
        lines: JSON lines instead of parquet.
    """
    if lines:
        with path.open("w", encoding="utf-8") as stream:
            return write_lines(stream, samples, rejects)
    return _write_parquet(path, _embedded(samples, rejects), layout, like=None)


def write_parts(
    folder: Path,
    samples: Iterable[Sample],
    layout: Layout,
    rejects: Rejects,
    *,
    rows_per_part: int,
    on_done: Callable[[int], None] = lambda count: None,
) -> tuple[int, list[str]]:
    """Write `part-00000.parquet` and so on, and return how many samples they hold, and the names.

    A part has its name when it is complete; one that is there is taken for what an earlier run wrote. Part k is made
    of samples `k * rows_per_part` and following, whether or not their images can be read, so that parts never shift.
    """
    suffix = ".parquet" if layout.kept_in == "parquet" else ".jsonl"
    remaining, names, written = iter(samples), list[str](), 0
    while True:
        first = list(itertools.islice(remaining, 1))
        if not first and names:
            return written, names
        part = _counting(itertools.chain(first, itertools.islice(remaining, rows_per_part - 1)), on_done)
        path = folder / f"part-{len(names):05d}{suffix}"
        if path.exists():
            for _ in part:
                pass
            written += count_rows(path) or 0
        else:
            written += _write_part(path, part, layout, rejects, like=folder / names[0] if names else None)
        names.append(path.name)


def _write_part(path: Path, samples: Iterable[Sample], layout: Layout, rejects: Rejects, *, like: Path | None) -> int:
    partial = path.with_name(f".{path.name}.tmp")
    if layout.kept_in == "parquet":
        count = _write_parquet(partial, _embedded(samples, rejects), layout, like=like)
    else:
        count = _write_beside_images(partial, _embedded(samples, rejects), layout)
    with partial.open("rb") as stream:
        os.fsync(stream.fileno())
    partial.replace(path)
    return count


def _write_parquet(path: Path, samples: Iterable[Sample], layout: Layout, *, like: Path | None) -> int:
    """Write one parquet file; with the columns of `like`, so that all parts of a set have the same."""
    if layout is LAYOUTS["canonical"]:
        return parquet.write_samples(path, samples, like=like)
    rows = (layout.write(sample, codec.encode_images(sample)) for sample in samples)
    return parquet.write_rows(path, rows, parquet.LAYOUTS[layout.name])


def _write_beside_images(path: Path, samples: Iterable[Sample], layout: Layout) -> int:
    folder = path.parent / IMAGES
    folder.mkdir(exist_ok=True)
    count = 0
    with path.open("w", encoding="utf-8") as stream:
        for sample in samples:
            names = [f"{IMAGES}/{_save(folder, images.read_bytes(image))}" for image in sample.images]
            stream.write(store.dumps(layout.write(sample, names)) + "\n")
            count += 1
    return count


def _save(folder: Path, data: bytes) -> str:
    """Write an image under the name of its content, once, and return the name."""
    path = folder / f"{hashlib.sha256(data).hexdigest()[:24]}.{images.kind(data)}"
    if not path.exists():
        store.write_atomic(path, data)
    return path.name


def _embedded(samples: Iterable[Sample], rejects: Rejects) -> Iterator[Sample]:
    """Yield the samples with their images read; those whose images cannot be read are rejected."""
    for sample in samples:
        try:
            refs = tuple(ImageRef(data=images.read_bytes(ref), path=ref.path) for ref in sample.images)
        except RecordError as error:
            rejects.add(error, record_id=sample.id)
            continue
        yield replace(sample, images=refs)


def _counting(samples: Iterable[Sample], on_done: Callable[[int], None]) -> Iterator[Sample]:
    for sample in samples:
        yield sample
        on_done(1)
