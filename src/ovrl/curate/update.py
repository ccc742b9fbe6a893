"""Take up a finished curation again: what it knew of each sample, for newer scores or other rules.

Old scores are not read again: the rows of `curation.jsonl` hold the counts that every rule needs. A sample with
newer scores is judged by these alone. Merging twice changes nothing, so an update that is stopped is repeated.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ovrl import manifest, store
from ovrl.curate.run import ROWS
from ovrl.errors import UsageError
from ovrl.manifest import MANIFEST, Identity
from ovrl.store import Directory

_NEEDED = ("total", "n", "correct", "mean_reward", "std_reward", "truncated", "unanswered", "errors", "letters")


@dataclass(frozen=True, slots=True)
class Earlier:
    """What an earlier curation left."""

    folder: Path
    record: Mapping[str, Any]
    """Its manifest."""
    rows: Mapping[str, Mapping[str, Any]]
    """Sample id -> the counts in its row."""

    def history(self, sha256: str | None, samples: str) -> list[str]:
        """Return the digests of the scores that the rows come from, oldest first, without those given now.

        Args:
            sha256: digest of the scores that are given now; None when there are none.
            samples: name of the samples among the inputs.
        """
        known: list[str] = self.record["settings"].get("earlier_scores", [])
        last = [str(entry["sha256"]) for name, entry in self.record["inputs"].items() if name != samples]
        return [digest for digest in (*known, *last) if digest not in (sha256, "None")]


def load(folder: Path) -> Earlier | None:
    """Return what is known from an earlier curation; None when the folder holds nothing yet.

    Raises:
        UsageError: it holds something else, or a curation that never came to its end.
    """
    if not (folder / MANIFEST).exists():
        return None
    record = manifest.read(folder / MANIFEST)
    if record["command"] != "curate":
        raise UsageError(f"{folder} was written by ovrl {record['command']}, not by ovrl curate")
    if not (folder / ROWS).exists():
        raise UsageError(
            f"the curation in {folder} was stopped before its end; finish it first by its own command, "
            f"or give --overwrite: {' '.join(record['argv'])}"
        )
    rows: dict[str, Mapping[str, Any]] = {}
    with (folder / ROWS).open("rb") as stream:
        for line in stream:
            row = orjson.loads(line)
            if "total" not in row:
                raise UsageError(f"{folder} comes from an older ovrl, whose rows say too little; give --overwrite")
            if row["total"]:
                rows[row["sample_id"]] = {name: row[name] for name in _NEEDED}
    return Earlier(folder, record, rows)


def refuse_lost(earlier: Earlier, ids: Set[str], samples: str) -> None:
    """Refuse samples that leave out some with evidence: their rows, and all that is known of them, would go.

    Args:
        earlier: what is known.
        ids: of the samples that are given now.
        samples: where these come from.

    Raises:
        UsageError: naming how many are missing.
    """
    lost = [sample_id for sample_id in earlier.rows if sample_id not in ids]
    if lost:
        raise UsageError(
            f"{len(lost)} of the {len(earlier.rows)} samples with scores in {earlier.folder} are not in {samples} "
            f"(such as {lost[0]!r}), and --update would lose their scores; give the --samples that were curated there, "
            "or another -o for these"
        )


def reopen(earlier: Earlier, identity: Identity) -> None:
    """Begin the folder anew under another identity, without emptying it, unless it has this one already.

    Raises:
        UsageError: another process uses it, or the pass thresholds differ: rows were counted with theirs.
    """
    old, new = earlier.record["settings"].get("pass_threshold"), identity.settings["pass_threshold"]
    if old != new:
        raise UsageError(
            "curate.pass_threshold differs from that of the rows, which cannot be counted again; "
            "give all scores and --overwrite"
        )
    if not _differs(earlier.record, identity, earlier.folder):
        return
    record = earlier.record
    before = Identity(
        command=record["command"],
        settings=record["settings"],
        inputs=record["inputs"],
        seed=record["seed"],
        limited=record["limited"],
        argv=record["argv"],
    )
    with Directory(earlier.folder, before):  # nobody else may be at work in it
        (earlier.folder / store.SUCCESS).unlink(missing_ok=True)
        store.write_json(earlier.folder / MANIFEST, manifest.begin(identity, None))


def _differs(record: Mapping[str, Any], identity: Identity, folder: Path) -> bool:
    try:
        manifest.refuse_changes(record, identity, str(folder))
    except UsageError:
        return True
    return False
