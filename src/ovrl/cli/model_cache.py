"""Keep models that were made from known inputs, so that a second demo does not pay for the first step again."""

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path

from ovrl import __version__
from ovrl.manifest import Identity

log = logging.getLogger(__name__)


class ModelCache:
    """One entry of `$OVRL_CACHE` (default ~/.cache/ovrl), named by what it was made from."""

    def __init__(self, identity: Identity) -> None:
        root = Path(os.environ.get("OVRL_CACHE") or Path.home() / ".cache" / "ovrl")
        facts = [
            _versions(),
            identity.command,
            identity.seed,
            identity.settings,
            sorted(str(entry["sha256"]) for entry in identity.inputs.values()),
        ]
        key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
        self._entry = root / "models" / key

    def restore(self, target: Path) -> bool:
        """Copy the entry's files into `target` and return True, or return False when there is none."""
        if not self._entry.is_dir():
            return False
        shutil.copytree(self._entry, target, dirs_exist_ok=True)
        log.info("taken from the cache: %s", self._entry)
        return True

    def keep(self, source: Path) -> None:
        """Copy the model in `source` into the cache, whole or not at all."""
        temporary = self._entry.with_name(f".{self._entry.name}.{os.getpid()}")
        try:
            temporary.parent.mkdir(parents=True, exist_ok=True)
            ignore = shutil.ignore_patterns("manifest.json", "_SUCCESS", "rejects.jsonl", ".*")
            shutil.copytree(source, temporary, ignore=ignore)
            temporary.rename(self._entry)
        except OSError as error:  # a full or read-only home costs the next demo a minute, no more
            log.warning("the model could not be kept in the cache: %s", error)
            shutil.rmtree(temporary, ignore_errors=True)


def _versions() -> list[str]:
    """Return what else decides the model: the versions of the libraries, and our own code that makes it."""
    from importlib import metadata

    package = Path(__file__).parents[1]
    sources = [package / "rollout" / "tiny.py", package / "rollout" / "prompt.py", package / "train" / "warmup.py"]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sources]
    return [__version__, *(metadata.version(name) for name in ("torch", "transformers")), *digests]
