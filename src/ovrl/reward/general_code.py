"""Score programs: `solution(input)` is run on every test, in a sealed process, and what it prints is compared."""

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ovrl.records import Question, Score
from ovrl.reward.extract import final_answer
from ovrl.reward.outcome import Mode, graded, missed, unscored
from ovrl.reward.program import Limits, NotSealedError, Outcome, run

USUAL_LIMIT = 10.0
"""Seconds for one completion, when whoever asks for the score does not say."""
SHARE = 0.8
"""All tests of a record together take this much of the limit on a completion, so that its worker need not be killed."""

LIMITS: dict[Mode, Limits] = {
    "strict": Limits(cpu=2.0, wall=4.0, memory=256 << 20),
    "ov15": Limits(cpu=2.0, wall=2.0, memory=37 << 20),
}
"""For one test. In `strict` the processor's time decides, so that a busy machine takes no reward away. The
original had 50 MB with the interpreter, which itself takes 13."""

_FENCE, _FENCE_END = "```python", "```"
_DEFINES = re.compile(r"\bsolution\b")

# What the original refuses to run: plain substrings of the lower-cased source, "norm - 1" among the hits.
_FILTERED = (
    *("os.remove", "os.unlink", "os.rmdir", "os.removedirs", "os.rename", "os.replace", "os.mkdir", "os.makedirs"),
    *("os.chmod", "os.chown", "os.link", "os.symlink", "os.truncate", "os.open", "os.system", "os.popen"),
    *("shutil.", "pathlib", "path.", "open(", "subprocess", "rm -", "rmtree", ".unlink(", ".rmdir(", ".rename("),
)


@dataclass(frozen=True, slots=True)
class Test:
    """One run of the program."""

    input: str
    output: str


def score(question: Question, completion: str, mode: Mode, *, limit_s: float = USUAL_LIMIT) -> Score:
    """Return 1 when the program passes all tests of a gold answer, else 0.

    A gold is a JSON object with `tests`, a list of `{input, output}`; its `checker` is not used. The program
    defines `solution(input)`, which gets the input as text; standard output and, as its last line, what
    `solution` returned must equal the output. A program that is too slow, crashes or writes too much is wrong.

    `strict` compares without white space at the ends of lines and of the text, and gives null to a gold without
    tests. `ov15` pastes the input into the source, refuses sources by substrings, strips only one side of
    the comparison, is content with a program that leaves early, and pays an answer without tests.

    Both read a program out of the first ```python fence and no other: the corpus wants 0 for a bare fence, for
    ```py and for ```Python, which the prompts do not ask for.

    Args:
        question: the task and its gold answers.
        completion: the text as sampled.
        mode: `strict` or `ov15`.
        limit_s: seconds for the whole completion. A program that is stopped for it alone, within the limits of its
            own (`LIMITS`), is no wrong one: the status is `timeout`.
    """
    answer = final_answer(completion, mode)
    if answer is None or (mode == "strict" and not answer.strip()):
        return missed("no_answer", answer)
    source = _source(answer)
    suites = [suite for gold in question.answer if (suite := _tests(gold)) is not None]
    if mode == "ov15":
        if any(not suite for suite in suites):
            return graded(1.0, source)
        if not suites or any(word in source.lower() for word in _FILTERED):
            return graded(0.0, source)
    elif not any(suites):
        # What cannot be a program is wrong whatever the tests are.
        return unscored("invalid_gold", source) if _DEFINES.search(source) else missed("parse_error", source)
    try:
        return _best(source, [suite for suite in suites if suite], mode, SHARE * limit_s)
    except NotSealedError as error:
        return replace(unscored("unsupported", source), note=f"programs are not run: {error}")


def _best(source: str, suites: Sequence[list[Test]], mode: Mode, seconds: float) -> Score:
    """Return the score on the first suite that the program passes, or on the last."""
    deadline = time.monotonic() + seconds
    found = missed("parse_error", source)
    for suite in suites:
        found = _passed(source, suite, mode, deadline)
        if found.reward is None or found.reward > 0:
            break
    return found


def _passed(source: str, tests: list[Test], mode: Mode, deadline: float) -> Score:
    for number, test in enumerate(tests, 1):
        limits = LIMITS[mode]
        left = deadline - time.monotonic()
        is_cut = left < limits.wall
        if is_cut:
            limits = replace(limits, wall=left)
        outcome = _tested(source, test, mode, limits) if left > 0 else None
        if outcome is None or (is_cut and outcome.is_expired):
            note = f"passed {number - 1} of {len(tests)} tests in the time that all may take together"
            return replace(unscored("timeout", source), note=note)
        if mode == "ov15":
            passed = outcome.exit_code == 0 and _text(outcome.output).strip() == test.output
        else:
            passed = outcome.ending == "returned" and _trimmed(_text(outcome.output)) == _trimmed(test.output)
        if not passed:
            return _failed(source, outcome, f"test {number} of {len(tests)}")
    return graded(1.0, source)


def _tested(source: str, test: Test, mode: Mode, limits: Limits) -> Outcome:
    return run(_pasted(source, test.input), None, limits) if mode == "ov15" else run(source, test.input, limits)


def _failed(source: str, outcome: Outcome, test: str) -> Score:
    if outcome.ending in ("syntax", "missing"):
        return replace(missed("parse_error", source), note=outcome.note)
    said = "another output" if outcome.ending == "returned" else outcome.note or outcome.ending
    return replace(graded(0.0, source), note=f"{test}: {said}")


def _source(answer: str) -> str:
    """Return the first fenced Python, up to the end when it is not closed; without such a fence all of the text."""
    text = answer.strip()
    start = text.find(_FENCE)
    if start < 0:
        return text
    start += len(_FENCE)
    end = text.find(_FENCE_END, start)
    return text[start : end if end >= 0 else None].strip()


def _tests(gold: str) -> list[Test] | None:
    """Return the tests of a gold answer, or None when it cannot be read."""
    try:
        content: Any = json.loads(gold)
    except (ValueError, RecursionError):
        return None
    tests: Any = content.get("tests") if isinstance(content, dict) else None
    if not isinstance(tests, list):
        return None
    if not all(isinstance(test, dict) and {"input", "output"} <= test.keys() for test in tests):
        return None
    return [Test(str(test["input"]), str(test["output"])) for test in tests]


def _pasted(source: str, text: str) -> str:
    return f'input = """{text}"""\n{source}\nprint(solution(input))'


def _text(output: bytes) -> str:
    return output.decode(errors="replace")


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines()).strip()
