"""WebCode2M (parquet shards with screenshots).

Raw row: `image` (the screenshot), `text` (the page's source), `lang`, `score` and others that are not used.
"""

from typing import Any

from ovrl.curate.sources.fields import Row, images, text
from ovrl.records import IMAGE_MARK


def convert(row: Row, *, seed: int) -> list[dict[str, Any]]:
    """Return the row's sample; the gold is the whole page."""
    del seed
    return [
        {
            "images": images(row, "image"),
            "problem": f"{IMAGE_MARK}\nWrite the HTML source of a page that looks like this screenshot.",
            "answer": [text(row, "text")],
            "answer_type": "html-code",
            "problem_type": "coding",
            "prompt_type": "thinking",
            "source": "webcode2m",
            "meta": {name: row[name] for name in ("lang", "score") if row.get(name) is not None},
        }
    ]
