"""The rule for programs; what programs may do is in `test_program`."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reward_cases import ask, check_range, outcome

from ovrl.records import Question
from ovrl.reward import general_code, program
from ovrl.reward.general_code import score
from ovrl.reward.outcome import Mode

if reason := program.missing():
    pytest.skip(f"programs cannot be sealed here: {reason}", allow_module_level=True)

ADD = "def solution(input):\n    a, b = map(int, input.split())\n    return a + b"


def suite(*tests: tuple[str, object]) -> str:
    return json.dumps({"tests": [{"input": text, "output": output} for text, output in tests], "checker": None})


SUMS = suite(("1 2", "3"), ("-4 4", "0"))


@pytest.mark.parametrize("mode", ["strict", "ov15"])
@pytest.mark.parametrize(
    ("source", "want"),
    [
        (ADD, 1.0),
        (f"```python\n{ADD}\n```\nIt adds.", 1.0),
        (f"First:\n```python\n{ADD}", 1.0),
        (ADD.replace("+", "-"), 0.0),
        (ADD.replace("a + b", "3"), 0.0),  # passes the first test only
        (ADD + "\nprint('debug')", 0.0),
        (f"```python\n# nothing\n```\n```python\n{ADD}\n```", 0.0),
    ],
)
def test_a_program_must_pass_every_test(source: str, want: float, mode: Mode):
    assert ask(score, source, SUMS, mode=mode).reward == want


def test_several_golds_each_would_do():
    assert ask(score, ADD, suite(("1 2", "4")), SUMS).reward == 1.0
    assert ask(score, ADD, suite(("1 2", "4")), "no json").reward == 0.0


@pytest.mark.parametrize(
    ("answer", "golds", "want"),
    [
        ("", [SUMS], (0.0, "no_answer")),
        ("def solution(input) return 3", [SUMS], (0.0, "parse_error")),
        ("def answer(input): return 3", [SUMS], (0.0, "parse_error")),
        ("def solution(input): return 1 / 0", [SUMS], (0.0, "ok")),
        ("import os; os._exit(0)", [SUMS], (0.0, "ok")),
        (ADD, ["no json"], (None, "invalid_gold")),
        (ADD, ["[" * 100_000], (None, "invalid_gold")),
        (ADD, ['{"tests": null}'], (None, "invalid_gold")),
        (ADD, ['{"tests": [{"input": "1 2"}]}'], (None, "invalid_gold")),
        (ADD, [suite()], (None, "invalid_gold")),
        (ADD, [], (None, "invalid_gold")),
        ("no program", [suite()], (0.0, "parse_error")),
    ],
)
def test_statuses_of_strict(answer: str, golds: list[str], want: tuple[float | None, str]):
    assert outcome(score, answer, *golds) == want


def test_a_reply_without_tags_or_with_the_answer_in_its_thoughts_has_no_answer():
    question = Question(answer=(SUMS,))
    assert score(question, ADD, "strict").status == "no_answer"
    assert score(question, f"<think><answer>{ADD}</answer></think>", "strict").status == "no_answer"
    assert score(question, f"<think><answer>{ADD}</answer></think>", "ov15").reward == 1.0


@pytest.mark.parametrize(
    ("expected", "strict", "ov15"),
    [("3\n", 1.0, 0.0), (" 3", 1.0, 0.0), (3, 1.0, 1.0), ("3.0", 0.0, 0.0), ("3 \n", 1.0, 0.0)],
)
def test_white_space_around_the_expected_output_counts_in_ov15_alone(expected: object, strict: float, ov15: float):
    gold = suite(("1 2", expected))
    assert ask(score, ADD, gold).reward == strict
    assert ask(score, ADD, gold, mode="ov15").reward == ov15


def test_white_space_at_the_ends_of_lines_does_not_count_but_within_them_does():
    gold = suite(("", "1 \n2\n"))
    assert ask(score, "def solution(input): return '1\\n2 '", gold).reward == 1.0
    assert ask(score, "def solution(input): return '1\\n 2'", gold).reward == 0.0
    assert ask(score, "def solution(input): return '1 2'", gold).reward == 0.0


@pytest.mark.parametrize(
    "harmless", ["path = []; path.append(1)", "norm = 2; norm - 1", "todos = [1]; todos.remove(1)"]
)
def test_only_ov15_filters_by_substrings(harmless: str):
    assert ask(score, f"{harmless}\n{ADD}", SUMS).reward == 1.0
    assert ask(score, f"{harmless}\n{ADD}", SUMS, mode="ov15").reward == 0.0


def test_ov15_pastes_the_input_and_strict_does_not():
    echo = "def solution(input):\n    return len(input)"
    assert ask(score, echo, suite(("a\\n", "3"))).reward == 1.0
    assert ask(score, echo, suite(("a\\n", "2")), mode="ov15").reward == 1.0  # the escape is read as one character
    assert ask(score, "from __future__ import annotations\n" + ADD, SUMS).reward == 1.0
    assert ask(score, "from __future__ import annotations\n" + ADD, SUMS, mode="ov15").reward == 0.0
    injected = '"""\nprint(3)\nraise SystemExit\n"""'
    assert ask(score, "def solution(input): return 0", suite((injected, "3"))).reward == 0.0


def test_ov15_pays_without_tests_and_a_program_that_leaves_early():
    assert ask(score, "anything", suite(), mode="ov15").reward == 1.0
    leaves = "import os\nos.write(1, b'3')\nos._exit(0)"
    assert ask(score, leaves, suite(("1 2", "3")), mode="ov15").reward == 1.0
    assert ask(score, leaves, suite(("1 2", "3"))).reward == 0.0


def test_the_first_failure_ends_the_tests(monkeypatch: pytest.MonkeyPatch):
    asked: list[str | None] = []

    def spied(source: str, text: str | None, limits: program.Limits) -> program.Outcome:
        asked.append(text)
        return program.run(source, text, limits)

    monkeypatch.setattr(general_code, "run", spied)
    found = ask(score, ADD, suite(("1 2", "3"), ("1 1", "3"), ("0 0", "0")))
    assert asked == ["1 2", "1 1"]
    assert found.note == "test 2 of 3: another output"


def test_a_slow_program_is_wrong(monkeypatch: pytest.MonkeyPatch):
    limits = program.Limits(cpu=1.0, wall=0.5, memory=1 << 27)
    monkeypatch.setitem(general_code.LIMITS, "strict", limits)
    slow = ask(score, "import time; time.sleep(60)\n" + ADD, SUMS)
    assert (slow.reward, slow.status) == (0.0, "ok")
    assert slow.note == "test 1 of 2: still running after 0.5 s"


def test_what_the_callers_limit_cuts_off_is_a_timeout_and_no_wrong_program(monkeypatch: pytest.MonkeyPatch):
    walls: list[float] = []

    def spied(source: str, text: str | None, limits: program.Limits) -> program.Outcome:
        walls.append(limits.wall)
        return program.run(source, text, limits)

    monkeypatch.setattr(general_code, "run", spied)
    question = Question(answer=(SUMS,))
    sleeping = f"<answer>import time; time.sleep(60)\n{ADD}</answer>"
    found = score(question, sleeping, "strict", limit_s=1.0)
    assert (found.reward, found.status) == (None, "timeout")
    assert found.note == "passed 0 of 2 tests in the time that all may take together"
    (wall,) = walls
    assert 0.0 < wall <= general_code.SHARE
    assert score(question, sleeping, "strict", limit_s=0.0).status == "timeout"
    assert len(walls) == 1  # nothing was run
    assert score(question, f"<answer>{ADD}</answer>", "strict", limit_s=1000.0).reward == 1.0
    assert walls[1:] == [general_code.LIMITS["strict"].wall] * 2  # a test's own limit does not grow with it


@pytest.mark.parametrize("mode", ["strict", "ov15"])
@pytest.mark.parametrize("code", [1, 7, 125, 126, 127, 255])
def test_a_program_that_leaves_with_any_code_is_wrong_and_costs_no_other_its_verdict(code: int, mode: Mode):
    leaving = ask(score, f"import os\nos.write(1, b'3')\nos._exit({code})", SUMS, mode=mode)
    assert (leaving.reward, leaving.status) == (0.0, "ok")
    assert ask(score, ADD, SUMS, mode=mode).reward == 1.0


@pytest.mark.parametrize("fence", ["```", "```py", "```Python", "~~~python", "~~~"])
def test_another_fence_is_no_program_as_the_corpus_has_it(fence: str):
    assert outcome(score, f"{fence}\n{ADD}\n{fence[:3]}", SUMS) == (0.0, "parse_error")
    assert outcome(score, f"{fence}\n{ADD}\n{fence[:3]}\n```python\n{ADD}\n```", SUMS) == (1.0, "ok")


def test_a_machine_that_cannot_seal_gives_no_reward(monkeypatch: pytest.MonkeyPatch):
    def refuse(source: str, text: str | None, limits: program.Limits) -> program.Outcome:
        raise program.NotSealedError("no lock")

    monkeypatch.setattr(general_code, "run", refuse)
    found = ask(score, ADD, SUMS)
    assert (found.reward, found.status) == (None, "unsupported")
    assert found.note == "programs are not run: no lock"


@settings(max_examples=40, deadline=None)
@given(
    answer=st.text() | st.sampled_from([ADD, f"```python\n{ADD}"]),
    gold=st.text() | st.sampled_from([SUMS, suite()]),
    mode=st.sampled_from(["strict", "ov15"]),
)
def test_any_text_gives_a_finite_reward_or_a_status(answer: str, gold: str, mode: Mode):
    found = ask(score, answer, gold, mode=mode)
    check_range(found)
    assert found.status != "error"
    assert ask(score, answer, gold, mode=mode) == found
