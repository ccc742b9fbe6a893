"""What a person sees in a reply to a multiple-choice question."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovrl.reward.option_letters import as_set, offered, option_text, tidy


@pytest.mark.parametrize(
    ("reply", "letters"),
    [
        ("A? B? C? D?", "ABCD"),
        ("A - B - C - D", "ABCD"),
        ("A: 30%, B: 70%", "AB"),
        ("(B) 12 cm (C) 13 cm", "BC"),
        ("(D) both (A) and (B)", "D"),
        ("B - could also be C", "BC"),
        ("B. cat, or C. dog", "BC"),
        ("A → B → C", "ABC"),
        ("A? I think B", "AB"),
        ("B. C. S. Lewis", "B"),
        ("B?", "B"),
        ("(A) (B) (C) (D)", "ABCD"),
        ("A_B_C_D", "ABCD"),
        ("A=B", "AB"),
        ("B. It is possibly red", "B"),
        ("B: A and C are too small", "B"),
        ("B is wrong", ""),
        ("It isn't B", ""),
        ("It is not B", ""),
        ("not B", ""),
        ("(B) is incorrect", ""),
        ("B: wrong", ""),
        ("Everything except B", ""),
        ("all but C", ""),
        ("neither A nor B", ""),
        ("Neither A, B nor C, so D", "D"),
        ("B is not the answer", ""),
        ("Not A, B", "B"),
        ("not A or B", ""),
        ("B, not C", "B"),
        ("B rather than C", "B"),
        ("B instead of C", "B"),
        ("A is wrong, B is right", "B"),
        ("Option B is right, option A is wrong", "B"),
        ("Option A is wrong. Option B is right", "B"),
        ("A is too small, B is too big, so C", "C"),
        ("I choose B over C", "B"),
        ("answer: c", "C"),
        ("Answer: c.", "C"),
        ("the answer is (b)", "B"),
        ("option c", "C"),
        ("choice d", "D"),
        ("the answer is b", "B"),
        ("Ans: b", "B"),
        ("the answer is a cat", ""),
        ("option a", "A"),
        ("I choose (c)", "C"),
        ("answer: a", "A"),
        ("the correct answer is option C", "C"),
        ("Correct option: C", "C"),
        ("Correct answer - D", "D"),
        ("Final answer: **B**", "B"),
        ("The answer would be B", "B"),
        ("The answer must be (D).", "D"),
        ("Answer = B", "B"),
        ("Ans. B", "B"),
        ("A is correct", "A"),
        ("A is the right answer", "A"),
        ("A because it is red", "A"),
        ("C is correct because A and B are too small", "C"),
        ("I think it is C", "C"),
        ("I would say C", "C"),
        ("I'd go with D", "D"),
        ("I pick A", "A"),
        ("Therefore, B", "B"),
        ("So the answer is D, since A is red", "D"),
        ("either option A or option B", "AB"),
        ("The answer is A or B", "AB"),
        ("Answer: A. Answer: B", "AB"),
        ("The answer is A. Wait, no, the answer is B", "B"),
        ("A. cat\nB. dog\nC. bird", "ABC"),
        ("B. cat\nA is wrong", "B"),
        ("B (or C)", "BC"),
        ("B or maybe C", "BC"),
        ("Both B and C", "BC"),
        ("A/B", "AB"),
        ("A & B", "AB"),
        ("maybe A, maybe B", "AB"),
        ("Answer: AB", "AB"),
        ("The answer is ACD", "ACD"),
        ("Answer: BAD", ""),
        ("A cat\nB", "B"),
        ("Let me see.\nThe answer is B", "B"),
        ("Step by step\n\n**C**", "C"),
        ("【B】", "B"),
        ("「B」", "B"),
        ("_B_", "B"),
        ("<B>", "B"),
        ("\\(B\\)", "B"),
        ("\\textbf{B}", "B"),
        ("\\mathbf{(B)}", "B"),
        ("B。", "B"),
        ("B!", "B"),
        ("~B~", "B"),
        ("#B", "B"),
        ("> B", "B"),
        ("→ B", "B"),
        ("<strong>B</strong>", "B"),
        ("<i>b</i>", "B"),
        ("'B.'", "B"),
        ("(B", "B"),
        ("B)", "B"),
        ("[B] cat", "B"),
        ("b) cat", "B"),
        ("B - the cat", "B"),
        ("B – the cat", "B"),
        ("B, the cat", "B"),
        ("B cat", "B"),
        ("选项B", "B"),
        ("答案：B", "B"),
        ("正确答案是 C", "C"),
        ("我选D", "D"),
        ("不是B，是C", "C"),
        ("B是错的", ""),
        ("选择A", "A"),
        ("Cannot be determined", ""),
        ("Apple pie recipe", ""),
        ("All of the above", ""),
        ("Der Hund", ""),
        ("A red cube", ""),
        ("I have no idea", ""),
        ("A cat and a dog", ""),
        ("Because", ""),
        ("I am sure", ""),
        ("¬B", ""),
        ("≠ B", ""),
        ("D. It is A's twin", "D"),
        ("Point P is B", "B"),
        ("angle ABC", ""),
        ("none of them", ""),
        ("The first", ""),
    ],
)
def test_letters_that_a_reply_offers(reply: str, letters: str):
    assert offered(tidy(reply)) == frozenset(letters)


@given(st.sampled_from("ABCDEFGHJ"), st.sampled_from("ABCDEFGHJ"))
def test_a_denied_letter_is_never_offered_and_another_one_is(wrong: str, right: str):
    for reply in (f"not {wrong}", f"It isn't {wrong}", f"({wrong}) is wrong", f"{wrong} is not correct"):
        assert offered(tidy(reply)) == frozenset()
        if wrong != right:
            assert offered(tidy(f"{reply}, the answer is {right}")) == frozenset(right)


@given(
    st.lists(st.sampled_from("ABCDEFGHJ"), min_size=2, max_size=5, unique=True),
    st.sampled_from([", ", "/", " or ", " and ", "\n", " ", " - ", "? "]),
)
def test_several_letters_are_all_offered(letters: list[str], between: str):
    assert offered(tidy(between.join(letters))) == frozenset(letters)
    assert offered(tidy("The answer is " + between.join(letters))) >= {letters[0]}


@given(
    st.lists(
        st.sampled_from(
            ["A", "b", "(C)", "not", "is", "wrong", "answer", ":", ",", "or", "and", "\n", "so", "I", "選", "答案"]
        )
    ).map(" ".join)
)
def test_any_row_of_words_is_read(text: str):
    assert all(len(letter) == 1 and letter.isupper() for letter in offered(tidy(text)))


def test_rows_and_texts_of_options():
    assert as_set("b, a") == {"A", "B"}
    assert as_set("aa") == as_set("a1") == as_set("é") == as_set("") == frozenset()
    assert option_text("(B) cube.") == "cube"
    assert option_text("cube") == option_text("B") == ""
