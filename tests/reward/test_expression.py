import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reward_cases import ask, calls, check_range, outcome

from ovrl.reward.expression import score
from ovrl.reward.outcome import Mode

# All of these were evaluated as Python by the original, or never came back.
ATTACKS = (
    "\\text{[42][0]}",
    "\\text{9**9**9}",
    "$9^{9^{9}}$",
    "9**9**9",
    "2^{99999999}",
    "\\text{().__class__}",
    "99999!",
)


@pytest.mark.parametrize(
    ("answer", "gold", "reward"),
    [
        ("2\\sqrt{3}", "\\sqrt{12}", 1.0),
        ("2\\sqrt{3}", "\\sqrt{13}", 0.0),
        ("$x^2+11x+28$", "(x+7)(x+4)", 1.0),
        ("y = 2x + 1", "y = 5x - 3", 0.0),  # the original saw two letters y
        ("k > 3", "k < 1", 0.0),
        ("$3 < x$", "x > 3", 1.0),
        ("\\frac{3}{4}x", "\\frac{3}{4}y", 0.0),
        ("2x+1", "2x+300", 0.0),
        ("3+7i", "3+6i", 0.0),
        ("(6, ∞)", "(6, \\infty)", 1.0),
        (
            "\\begin{bmatrix} 1 & 2 \\\\ 3 & 4 \\end{bmatrix}",
            "$\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}$",
            1.0,
        ),
        ("6*7", "42", 1.0),
        ("3.14", "\\pi", 0.0),
        ("(x)(x+1)", "x(x+1)", 1.0),  # no call of a function x
        ("f(2)", "2f", 0.0),
        ("x^2+y^2=16", "x^2+y^2=25", 0.0),
        ("$x \\geq 3$", "[3, \\infty)", 1.0),
        ("$1 < x < 2$", "(1, 2)", 1.0),
    ],
)
def test_expressions(answer: str, gold: str, reward: float):
    assert ask(score, answer, gold).reward == reward


@pytest.mark.parametrize(
    ("answer", "gold", "reward"),
    [
        ("x = 9", "x = 5", 1.0),  # reduced to their first lone letter
        ("x = 5", "5", 0.0),
        ("2.5", "2.504", 1.0),  # rounded to two decimals
        ("2\\sqrt{3}", "\\sqrt{12}", 0.0),  # no LaTeX without dollars
        ("$2\\sqrt{3}$", "$\\sqrt{12}$", 1.0),
        ("(B) 123", "12", 1.0),  # the last character is cut off
        ("(1.4, 7)", "(\\frac{7}{5}, 7)", 1.0),
        ("0.5", "0.25", 0.0),
    ],
)
def test_ov15_repeats_the_original(answer: str, gold: str, reward: float):
    assert ask(score, answer, gold, mode="ov15").reward == reward


def test_what_cannot_be_compared():
    assert outcome(score, "", "5") == (0.0, "no_answer")
    assert outcome(score, "5", " ") == (None, "invalid_gold")
    assert outcome(score, "9" * 3000, "5") == (0.0, "parse_error")
    assert outcome(score, "4", "5", "4") == (1.0, "ok")


@pytest.mark.parametrize("answer", ATTACKS)
@pytest.mark.parametrize("mode", ["strict", "ov15"])
def test_text_is_never_executed_and_towers_are_refused(answer, mode):
    rewards: list[float | None] = []
    # Loading the algebra takes half of these; what has been computed before it is refused would take all.
    assert calls(lambda: rewards.append(ask(score, answer, "42", mode=mode).reward)) < 1_000_000
    assert rewards == [0.0]


def test_arithmetic_in_text_counts_as_the_original_counted_it():
    assert ask(score, "\\text{6*7}", "42").reward == 0.0
    assert ask(score, "\\text{6*7}", "42", mode="ov15").reward == 1.0  # by our bounded evaluator


def test_works_outside_the_main_thread():
    rewards: list[float | None] = []
    thread = threading.Thread(target=lambda: rewards.append(ask(score, "$\\frac{1}{2}x$", "0.5x").reward))
    thread.start()
    thread.join()
    assert rewards == [1.0]


@settings(max_examples=60, deadline=None)
@given(
    st.text(st.sampled_from("0123456789+-*/()=<>{}\\$.,xy sqrtfac"), max_size=24),
    st.sampled_from(["strict", "ov15"]),
)
def test_never_raises_and_stays_in_range(text, mode):
    check_range(ask(score, text, "\\frac{1}{2}", mode=mode))


def test_a_gold_without_bound_is_the_datas_fault():
    assert outcome(score, "5", "$9^{9^{9}}$", mode="ov15") == (None, "invalid_gold")
    assert outcome(score, "5", "1" * 3000) == (None, "invalid_gold")
    assert outcome(score, "5", "$9^{9^{9}}$", "5") == (1.0, "ok")
    assert outcome(score, "$9^{9^{9}}$", "$9^{9^{9}}+1$", mode="ov15") == (0.0, "parse_error")
    assert outcome(score, "$9^{9^{9}}+2$", "$9^{9^{9}}+1$") == (0.0, "parse_error")


@pytest.mark.parametrize("mode", ["strict", "ov15"])
def test_the_same_text_is_right_whatever_its_length(mode: Mode):
    assert outcome(score, "7" * 50_000, "7" * 50_000, mode=mode) == (1.0, "ok")


def test_the_order_of_records_does_not_matter():
    # The library's caches make 0/0 equal 0 after some records and not after others.
    pairs = [("0/0", "0"), ("0", "0/0"), ("5/0", "5"), ("$0/0$", "$0$"), ("0*1", "0"), ("0/5", "0")]
    forward = [ask(score, *pair, mode="ov15").reward for pair in pairs]
    backward = [ask(score, *pair, mode="ov15").reward for pair in reversed(pairs)]
    assert forward == backward[::-1]
    assert forward[0] == 0.0


PLAIN = """
import sys
from ovrl.records import Question
from ovrl.reward.expression import score
from ovrl.reward.outcome import Mode
pairs = [("39.0", "39"), ("$5$", "$5$"), ("-1.25", "4"), ("Yes", "yes"), ("0.333", "0.33")]
for mode in ("ov15", "strict"):
    for answer, gold in pairs:
        score(Question(answer=(gold,)), f"<answer>{answer}</answer>", mode)
print(*sorted({"sympy", "math_verify", "latex2sympy2_extended"} & set(sys.modules)))
"""


def test_plain_numbers_and_equal_texts_load_no_algebra():
    done = subprocess.run([sys.executable, "-c", PLAIN], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == ""


CORPUS = Path(__file__).parents[3] / "shared" / "conformance" / "attacks.jsonl"
ATTACKED = """
import json, os, sys
from ovrl.records import Question
from ovrl.reward.judge import judge

def text(given, spec):
    given = "".join(part * times for part, times in spec) if given is None else given
    return given.replace("@CANARY@", os.getcwd()).replace("@VICTIM@", os.getcwd()) if isinstance(given, str) else given

import builtins, re
import ovrl.reward.algebra  # what its imports evaluate is their own

original, sources = builtins.eval, set()
def recorded(source, *rest):
    sources.add(str(source))
    return original(source, *rest)
builtins.eval = recorded

wrong = []
records = [json.loads(line) for line in open(sys.argv[1])]
records = [record for record in records if record["answer_type"] == "math-expressions"]
for record in records:
    gold = text(record["answer"], record.get("answer_spec"))
    response = text(record["response"], record.get("response_spec"))
    for golds, completion in (((gold,), response), ((response[8:-9] or "1",), f"<answer>{gold}</answer>")):
        question = Question(answer=golds, answer_type="math-expressions")
        score = judge(question, completion, mode=sys.argv[2]).score
        expected = record["expected_reward"] if golds == (gold,) else None
        if score.status in ("error", "timeout") or (expected is not None and score.reward != expected):
            wrong.append((record["name"], score.reward, score.status))
# Not ru_maxrss, which also counts what the tests' process held before this program replaced it.
(peak,) = (int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"records": len(records), "peak": peak, "wrong": wrong, "left": os.listdir(),
    "evaluated": [s for s in sources if not re.fullmatch(r"(?:Integer|Float) \\('?[0-9.eE+-]{1,80}'? ?\\)", s)]}))
"""


@pytest.mark.parametrize("mode", ["strict", "ov15"])
def test_attacks_end_soon_and_stay_small_in_one_process(mode: Mode, tmp_path: Path):
    """Each record as it is, and with answer and gold exchanged: a poisoned gold is bounded, too."""
    if not CORPUS.exists():
        pytest.skip(f"no conformance corpus at {CORPUS}")
    command = [sys.executable, "-c", ATTACKED, str(CORPUS), mode]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300, cwd=tmp_path)
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["records"] == 80
    assert found["left"] == []
    assert found["evaluated"] == []  # only numbers, by the library's grammar
    assert found["peak"] < 512
