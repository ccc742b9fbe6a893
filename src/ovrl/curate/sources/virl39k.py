r"""ViRL39K (TIGER-Lab/ViRL39K, `39Krelease.parquet`).

Raw row: `qid`, `question` (with `<image>` marks), `answer` (`\boxed{...}`), `image` (list of paths),
`category`, `source`, and pass rates of two models. `--images` is the folder that holds `images/`.
"""

from typing import Any

from ovrl.curate.sources.fields import Row, images, letter, text, with_marks

_BOX = "\\boxed{"
_KINDS = {"Spatial Reasoning": "spatial-reasoning", "Tables/Diagrams/Charts": "ocr"}
_KEPT = ("category", "source", "PassRate_32BTrained", "PassRate_7BBase")


def convert(row: Row, *, seed: int) -> list[dict[str, Any]]:
    """Return the row's sample; a lone letter A to J is an option, anything else an expression."""
    del seed
    paths = images(row, "image")
    answer = _unboxed(text(row, "answer"))
    option = letter(answer, last="J") if len(answer) == 1 else None
    return [
        {
            "id": f"virl39k-{text(row, 'qid')}" if "qid" in row else None,
            "images": paths,
            "problem": with_marks(text(row, "question"), len(paths)),
            "answer": [option or answer],
            "answer_type": "multiple-choice" if option else "math-expressions",
            "problem_type": _KINDS.get(row.get("category", ""), "stem"),
            "prompt_type": "thinking",
            "source": "virl39k",
            "meta": {name: row[name] for name in _KEPT if row.get(name) is not None},
        }
    ]


def _unboxed(answer: str) -> str:
    r"""Return what one `\boxed{...}` around the whole answer holds; other answers as they are."""
    if not (answer.startswith(_BOX) and answer.endswith("}")):
        return answer
    inside, depth = answer[len(_BOX) : -1], 0
    for sign in inside:
        depth += (sign == "{") - (sign == "}")
        if depth < 0:  # it closed before the end: `\boxed{1}, \boxed{2}`
            return answer
    return inside.strip() or answer
