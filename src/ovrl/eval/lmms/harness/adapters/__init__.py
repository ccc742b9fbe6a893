"""What each benchmark needs beyond the common form: the text of its question, the spelling of its answers."""

from functools import cache

from ovrl.eval.lmms.harness.adapters.adapter import Adapter
from ovrl.eval.lmms.harness.adapters.charxiv import CharXiv
from ovrl.eval.lmms.harness.adapters.choice import (
    ByRules,
    Choice,
    ExactChoice,
    OpenOrChoice,
    SeedImage,
    bracketed,
    by_letter,
    column,
    columns,
    within,
)
from ovrl.eval.lmms.harness.adapters.count import Count
from ovrl.eval.lmms.harness.adapters.mathematics import MathVision, MathVista, WeMath
from ovrl.eval.lmms.harness.adapters.mmmu import Mmmu, MmmuPro
from ovrl.eval.lmms.harness.adapters.preference import Preference
from ovrl.eval.lmms.harness.adapters.text import Anls, Chart, Ocr

_NO_LETTER = "?"
"""MME-RealWorld takes an empty answer for A."""

_PLAIN = Adapter()


@cache
def _adapters() -> dict[str, Adapter]:
    return {
        "mmstar": Choice(within("question", r"([A-D])[:.]\s+", default="ABCD")),
        "mmbench_en_dev_static": ByRules(columns("", "ABCDE"), gold=by_letter("answer")),
        "mmbench_cn_dev": ByRules(columns("", "ABCDE"), gold=by_letter("answer")),
        "mmerealworld": Choice(bracketed("multi-choice options"), unread=_NO_LETTER),
        "mmerealworld_cn": Choice(bracketed("multi-choice options"), unread=_NO_LETTER),
        "seedbench": SeedImage(columns("choice_", "abcd")),
        "cv_bench": Choice(column("choices")),
        "seedbench_2_plus": Choice(columns("choice_", "ABCD")),
        "realworldqa": OpenOrChoice(within("question", r"([A-F])\.\s+")),
        "mathvista_testmini_format": MathVista(),
        "wemath_testmini_reasoning": WeMath(),
        "mathvision_test": MathVision(),
        "mmmu_val": Mmmu(),
        "mmmu_pro_standard": MmmuPro(),
        "mmmu_pro_vision": MmmuPro(),
        "chartqa": Chart(),
        "charxiv_val_descriptive": CharXiv(),
        "docvqa_val": Anls(),
        "infovqa_val": Anls(),
        "ocrbench": Ocr(),
        "ai2d": ExactChoice(column("options"), lambda doc: int(doc["answer"])),
        "ai2d_no_mask": ExactChoice(column("options"), lambda doc: int(doc["answer"])),
        "sat": ExactChoice(column("answers"), lambda doc: int(doc["correct_answer_idx"])),
        "pixmo_count": Count(),
        "countbench": Count(),
        "vl_rewardbench": Preference(),
        "vstar_bench": Choice(within("text", r"\(([A-D])\)\s*", default="ABCD")),
    }


def adapter(task: str) -> Adapter:
    """Return the adapter of an upstream task; most need none."""
    return _adapters().get(task, _PLAIN)


def judges(task: str) -> bool:
    """Return whether the adapter of an upstream task brings a scorer."""
    return adapter(task).has_scorer


__all__ = ["Adapter", "adapter", "judges"]
