"""The sections of a settings file, and the class that checks each."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ovrl.settings import Settings

_SECTIONS = {
    "warmup": "ovrl.train.warmup_settings:WarmupSettings",
    "rollout": "ovrl.rollout.settings:RolloutSettings",
    "score": "ovrl.reward.settings:ScoreSettings",
    "curate": "ovrl.curate.settings:CurateSettings",
    "train": "ovrl.train.settings:TrainSettings",
    "validate": "ovrl.train.validate:ValidateSettings",
    "eval": "ovrl.eval.settings:EvalSettings",
}


def load_sections() -> "dict[str, type[Settings]]":
    """Return the class of each section; none of them imports torch."""
    loaded: dict[str, type[Settings]] = {}
    for name, target in _SECTIONS.items():
        module, _, attribute = target.partition(":")
        loaded[name] = getattr(import_module(module), attribute)
    return loaded
