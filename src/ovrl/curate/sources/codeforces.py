"""Codeforces problems with tests (open-r1/codeforces, config verifiable).

Raw row: `id`, `description`, `input_format`, `output_format`, `official_tests` ([{`input`, `output`}]),
`generated_checker`. Problems with a checker program of their own are left out: only outputs can be compared.
"""

import json
from typing import Any

from ovrl.curate.sources.fields import Row, text
from ovrl.errors import RecordError


def convert(row: Row, *, seed: int) -> list[dict[str, Any]]:
    """Return the row's sample; the gold is a JSON object of its tests."""
    del seed
    if row.get("generated_checker") is not None:
        return []
    tests = row.get("official_tests")
    if not tests:
        raise RecordError("official_tests", "no test is given, so that no answer can be judged")
    parts = [text(row, "description"), f"Input: {text(row, 'input_format')}"]
    parts += [f"Output: {text(row, 'output_format')}"]
    parts += [
        "Write one Python function `def solution(input):`. It gets the whole input as one string and returns the "
        "output as a string. Put only this function into the answer: no tests, nothing that prints, no main program."
    ]
    return [
        {
            "id": f"codeforces-{text(row, 'id').replace('/', '-')}" if "id" in row else None,
            "images": [],
            "problem": "\n\n".join(parts),
            "answer": [json.dumps({"tests": tests, "checker": None})],
            "answer_type": "general-code",
            "problem_type": "coding",
            "prompt_type": "thinking",
            "source": "codeforces",
        }
    ]
