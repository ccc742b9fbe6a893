import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reward_cases import check_work_grows_with_length

from ovrl.reward.extract import answer_blocks, final_answer, lone_answer, spoken, think_blocks, without_thinking


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("", []),
        ("<answer>a</answer>", ["a"]),
        ("<answer> a\nb </answer>", [" a\nb "]),  # line breaks belong to it, nothing is stripped
        ("<answer>a</answer> no, <answer>b</answer>", ["a", "b"]),
        ("<answer>a</answer><answer>b", ["a"]),  # an unclosed tag is no answer
        ("<answer><answer>x</answer>", ["<answer>x"]),  # the shortest stretch from the first tag
        ("<answer></answer>", [""]),
        ("<ANSWER>a</ANSWER> <answer >b</answer> <answer id='1'>c</answer>", []),  # tags are literal
        ("a</answer>", []),
    ],
)
def test_blocks_are_literal_and_do_not_overlap(text: str, blocks: list[str]):
    assert answer_blocks(text) == blocks


@pytest.mark.parametrize(
    ("text", "strict", "ov15"),
    [
        ("<think>x</think><answer>a</answer>", "a", "a"),
        ("<think><answer>a</answer></think>", None, "a"),
        ("<THINK><answer>a</answer></Think>b", None, "a"),
        ("<think><answer>a</answer></think><answer>b</answer>", "b", "b"),
        ("<answer>b</answer><think><answer>a</answer></think>", "b", "a"),
        ("<think>cut off <answer>a</answer>", "a", "a"),  # a block that never ends is not cut out
        ("template opened it <answer>a</answer></think> hm", None, "a"),
        ("template opened it <answer>a</answer></think><answer>b</answer>", "b", "b"),
        ("nothing", None, None),
    ],
)
def test_thoughts_are_not_answers_in_strict(text: str, strict: str | None, ov15: str | None):
    assert final_answer(text, "strict") == strict
    assert final_answer(text, "ov15") == ov15


def test_special_tokens_at_the_end_are_not_spoken():
    assert spoken("a<|im_end|>\n<|endoftext|>", "strict") == "a"
    assert spoken("a<|im_end|>", "ov15") == "a<|im_end|>"
    assert spoken("a <|x|> b", "strict") == "a <|x|> b"


def test_think_blocks_keep_their_order():
    assert think_blocks("<think>a</think>b<Think>c</THINK>d<think>e") == ["a", "c"]


@pytest.mark.parametrize("piece", ["<answer>", "<think>", "</think>", "<answer></answer>", "<|a|>", "<think></think>"])
def test_many_tags_cost_little(piece: str):
    check_work_grows_with_length(lambda text: final_answer(text, "strict"), "", piece)
    check_work_grows_with_length(think_blocks, "", piece)


@given(st.lists(st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "x", "<|e|>"])).map("".join))
def test_what_is_left_holds_no_closed_thought(text: str):
    assert think_blocks(without_thinking(text)) == [] or "</think>" not in without_thinking(text)
    assert "</think>" not in without_thinking(text)


@pytest.mark.parametrize(
    ("text", "strict"),
    [
        ("<think>It may be <answer>D</answer>", None),
        ("<think>Perhaps the <answer>D</answer>", None),
        ("<think>可能是<answer>D</answer>", None),
        ("<think>So the answer is <answer>D</answer>", "D"),
        ("<think>[0.1, 0.2, 0.3, 0.4]<answer>D</answer>", "D"),
        ("<think>It may be B. <answer>C</answer> No, it is <answer>D</answer>", "D"),
        ("<think>a</think>It may be <answer>D</answer>", "D"),  # said, not thought
        ("It may be <answer>D</answer>", "D"),
    ],
)
def test_a_guess_in_a_thought_that_never_ends_is_no_answer(text: str, strict: str | None):
    assert final_answer(text, "strict") == strict
    assert final_answer(text, "ov15") == "D"


@pytest.mark.parametrize("piece", ["<think></think>", "</think>", "<|im_end|>", "<think>a", "<answer></answer>"])
def test_many_blocks_cost_little(piece: str):
    check_work_grows_with_length(lambda text: final_answer(text, "strict"), "", piece)


def test_a_lone_closing_tag_ends_all_thinking_before_it():
    assert without_thinking("a<think>b</think>c</think>d<think>e</think>f") == "df"


@pytest.mark.parametrize(
    ("completion", "content"),
    [
        ("<answer>a</answer>", "a"), ("<answer></answer>", ""), ("so <answer> a </answer> then<|im_end|>\n", " a "),
        ("<think>x</think>é<think></think><answer>a</answer>", "a"), ("x</think><answer>a</answer>", "a"),
        ("<answer>a</answer><answer>b</answer>", None), ("<answer><answer>a</answer>", None), ("<answer>a", None),
        ("</answer><answer>a", None), ("<think><answer>a</answer>", None), ("<answer>a</answer></think>", None),
        ("<tHINK><answer>a</answer>", None), ("<answer>a < b</answer>", None), ("", None),
        ("<th\u0131nk><answer>a</answer>", None), ("<answer>a</answer><|im_end|><|im_end|>", None),
    ],
)  # fmt: skip
def test_a_lone_answer_needs_no_closer_look(completion: str, content: str | None):
    found = lone_answer(completion)
    assert (found and found[1]) == content


PIECES = ("<answer>", "</answer>", "<think>", "</think>", "</THINK>", "<th\u0131nk>", "</th\u0130nk>", "a", " b",
          "İ", "<|im_end|>")  # fmt: skip


@settings(max_examples=1000)
@given(
    st.lists(st.sampled_from(PIECES)).map("".join)
    | st.lists(st.sampled_from(["<think>a</think>", "</think>", "<answer>b</answer>", "c"])).map("".join)
)
def test_a_lone_answer_is_the_final_answer(completion: str):
    if found := lone_answer(completion):
        for mode in ("strict", "ov15"):  # the long way, and what `final_answer` says
            assert answer_blocks(spoken(completion, mode)) == [found[1]] == [final_answer(completion, mode)]
