import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovrl import choices
from ovrl.records import Question, derive_seed

LINES = "<image>\nWhich colour?\nA. red\nB. blue\nC. green\nD. gray\nAnswer with the letter."


def ask(problem, *answer):
    return Question(problem=problem, answer=answer, answer_type="multiple-choice")


@pytest.mark.parametrize(
    ("problem", "want"),
    [
        ("Which?\nA. red\nB. blue\nC. green\nD. gray", 4),
        ("Which? A. red B. blue", 2),
        ("Which? (A) red (B) blue (C) green", 3),
        ("Which?\n(A)red(B)blue", 2),
        ("<image>\nA) 1\nB) 2\nC) 3\nD) 4\nE) 5", 5),
        ("A: yes\nB: no", 2),
        ("Mr. A. Smith asks: A. one B. two C. three", 3),
        ("A. one B. two C. three, says Mr. A. Smith", 3),
        ("What did A. Smith say?", 0),
        ("Lines B. and C. meet", 0),
        ("", 0),
    ],
)
def test_options_are_counted(problem, want):
    assert choices.count_options(problem) == want


@pytest.mark.parametrize(
    ("problem", "gold", "texts"),
    [
        (LINES, "B", ["red", "blue", "green", "gray"]),
        ("Which? (A) red (B) blue sky (C) green", "(B)", ["red", "blue sky", "green"]),
        ("Which?\n(A)red(B)blue", "b.", ["red", "blue"]),
        ("A. 1  B. 2\nC. 3  D. 4", "D", ["1", "2", "3", "4"]),
        ("Which?\nA. 30\nB. No correct answer", "B", ["30", "No correct answer"]),
        ("Which?\nA. It rains. It pours.\nB. It snows.", "A", ["It rains. It pours.", "It snows."]),
    ],
)
def test_the_gold_letter_follows_its_option(problem, gold, texts):
    """Read back from the shuffled text: what stands behind the new gold letter is what stood behind the old one."""
    letter = next(char for char in gold if char.isalpha()).upper()
    right = texts[ord(letter) - ord("A")]
    orders = set()
    for seed in range(60):
        got = choices.shuffle(ask(problem, gold), seed)
        assert got is not None
        mapped = {texts["ABCD".index(original)]: "ABCD"[place] for place, original in enumerate(got.order)}
        shown = got.question.problem
        places = [shown.index(f"{text}", shown.index("(A)") if "(A)" in shown else shown.index("A.")) for text in texts]
        by_place = [text for _, text in sorted(zip(places, texts, strict=True))]
        assert [mapped[text] for text in by_place] == list("ABCD"[: len(texts)])
        assert got.gold == mapped[right]
        (answer,) = got.question.answer
        assert answer == gold.replace(letter, got.gold).replace(letter.lower(), got.gold.lower())
        assert sorted(shown) == sorted(problem)
        orders.add(got.order)
    assert len(orders) > 1


@pytest.mark.parametrize(
    ("stem", "options"),
    [
        ("<image>Which point is closer, (A) or (B)?", ("A. the left one", "B. the right one")),
        ("(A) left of (B)?", ("(A) yes", "(B) no")),
        ("A: or B: ?\nOptions:", ("A: left", "B: right")),
        ("Which of (A), (B) and (C) is it?", ("A. the first", "B. none")),
    ],
)
def test_marks_in_the_question_are_no_options(stem, options):
    problem = "\n".join((stem, *options))
    assert choices.count_options(problem) == 2
    marks, texts = zip(*(option.split(" ", 1) for option in options), strict=True)
    for seed in range(20):
        got = choices.shuffle(ask(problem, "A"), seed)
        assert got is not None
        shown = texts if got.order == "AB" else texts[::-1]
        lines = [f"{mark} {text}" for mark, text in zip(marks, shown, strict=True)]
        assert got.question.problem == "\n".join((stem, *lines))
        assert got.question.answer == ("AB"[shown.index(texts[0])],)


def test_the_text_around_the_options_stays():
    got = choices.shuffle(ask(LINES, "B"), 5)
    assert got is not None
    assert got.question.problem.startswith("<image>\nWhich colour?\nA. ")
    assert got.question.problem.endswith("\nAnswer with the letter.")


def test_several_gold_letters_move_together():
    for seed in range(30):
        got = choices.shuffle(ask(LINES, "A, C", "D"), seed)
        assert got is not None
        new = {original: "ABCD"[place] for place, original in enumerate(got.order)}
        assert got.question.answer == (", ".join(sorted((new["A"], new["C"]))), new["D"])
        assert got.gold == "".join(sorted((new["A"], new["C"], new["D"])))


@pytest.mark.parametrize(
    ("problem", "gold"),
    [
        ("Which colour has the car?", "B"),  # no options
        ("Which? A. red B. blue. Think before you answer.", "A"),  # where does the last one end?
        ("Which?\nA. red\nB. all of the above", "A"),
        ("Which?\nA. red\nB. blue\nC. both A and B", "A"),
        ("Which?\nA. red\nB. blue\nC. A, B", "A"),
        ("Which?\nA. <image>\nB. <image>", "A"),
        ("Which?\nA. red\nand blue\nB. green", "A"),
        ("Which?\nA.\nB.", "A"),  # the options are in the picture
        ("Which?\nA. red\nB. blue\nC. same as A", "A"),
        ("Which?\nA. red\nB. blue\nC. same as (A)", "A"),
        ("Which?\nA. red\nB. A is right", "A"),
        ("Which?\nA. rich in vitamin C. or so\nB. poor\nC. none", "A"),
        ("Choices: (A) x (B) y (C) z Please answer with the letter", "A"),
        ("Choices: (A) x (B) y (C) z Speak up", "A"),
        ("Which?\nA. x\nB. y\nC. z. Please answer with the letter.", "A"),
        ("Which point is closer, (A) or (B)?", "A"),  # no options at all
        ("Is point (A) left of point (B) in the image?", "A"),
        ("Is it: (A) red or (B) blue", "A"),
        ("Which point is closer, (A) or (B)? A. the left one B. the right one", "A"),
        ("(A) left of (B)? (A) yes (B) no", "A"),
        ("A: or B: ?\nOptions: A. left B. right", "A"),
        ("Which?\nA. yes\nB. no\nSay (A) or (B)", "A"),
        ("First:\nA. one\nB. two\nWhich?\nA. yes\nB. no", "A"),
        ("Which?\nA. red\nB. blue", "red"),
        ("Which?\nA. red\nB. blue", "C"),
        ("Which?\nA. red\nB. blue", ""),
    ],
)
def test_what_cannot_be_read_safely_is_left_alone(problem, gold):
    assert choices.shuffle(ask(problem, gold), 1) is None


def test_all_orders_are_equally_likely():
    found = {}
    for k in range(6000):
        got = choices.shuffle(ask("Which?\nA. red\nB. blue\nC. green", "A"), derive_seed(42, "s", k))
        assert got is not None
        found[got.order] = found.get(got.order, 0) + 1
    assert len(found) == 6
    assert all(abs(count - 1000) < 4 * (6000 * 1 / 6 * 5 / 6) ** 0.5 for count in found.values())


@given(st.text(max_size=80), st.text(max_size=4), st.integers())
def test_no_text_breaks_it_and_nothing_is_lost(problem, gold, seed):
    got = choices.shuffle(ask(problem, gold), seed)
    if got is not None:
        assert sorted(got.question.problem) == sorted(problem)
        assert sorted(got.order) == [chr(ord("A") + i) for i in range(choices.count_options(problem))]
