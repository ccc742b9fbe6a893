import pytest
from hypothesis import given
from hypothesis import strategies as st
from reward_cases import ask, check_range, outcome

from ovrl.reward.text import score


@pytest.mark.parametrize(
    ("answer", "golds", "strict", "ov15"),
    [
        ("STOP", ("stop",), 1.0, 1.0),
        ("ST0P", ("STOP",), 0.75, 0.75),  # one of four
        ("abcd", ("abxy",), 0.5, 0.5),  # the threshold itself still counts
        ("abc", ("abcdefgh",), 0.0, 0.0),  # 3 / 8 is below it
        ("a \n b", ("a b",), 1.0, 1.0),
        ("beofe", ("density", "before"), 1 - 2 / 6, 1 - 2 / 6),  # the nearest gold
        # 4 edits of 5 and of 16 characters: the original counted the gold's blanks
        ("zzzz", ("ab" + 12 * " " + "cd",), 0.0, 0.6875),
        ("strasse", ("straße",), 1 - 2 / 7, 1 - 2 / 7),  # lengths are taken in upper case
    ],
)
def test_similarity(answer: str, golds: tuple[str, ...], strict: float, ov15: float):
    assert ask(score, answer, *golds).reward == pytest.approx(strict, abs=1e-12)
    assert ask(score, answer, *golds, mode="ov15").reward == pytest.approx(ov15, abs=1e-12)


def test_what_cannot_be_compared():
    assert outcome(score, "", "x") == (0.0, "no_answer")
    assert outcome(score, "x", " ") == (None, "invalid_gold")
    assert outcome(score, " ", "", mode="ov15") == (1.0, "ok")


@given(st.text(), st.text(), st.sampled_from(["strict", "ov15"]))
def test_never_raises_and_stays_in_range(text, gold, mode):
    check_range(ask(score, text, gold, mode=mode))


@given(st.text(st.characters(exclude_characters="<"), min_size=1).filter(str.strip))
def test_a_text_reads_as_itself(text: str):
    assert ask(score, text, text).reward == 1.0


@pytest.mark.parametrize(
    ("answer", "gold", "reward"),
    [
        ("eaeaeaea", "eaten area", 0.0),  # two of six letters
        ("ab", "ax", 0.5),  # half of them
        ("Grand Motel", "Grand Hotel", 1 - 1 / 11),
    ],
)
def test_a_soup_of_frequent_letters_is_no_reading(answer: str, gold: str, reward: float):
    assert ask(score, answer, gold).reward == pytest.approx(reward, abs=1e-12)
    assert ask(score, "eaeaeaea", "eaten area", mode="ov15").reward == pytest.approx(0.6, abs=1e-12)
