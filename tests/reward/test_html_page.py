import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovrl.reward.html_page import read_page


@pytest.mark.parametrize(
    ("source", "shown", "hidden"),
    [
        ("one <b>two</b> three", 3, 0),
        ("<p>标题 one", 3, 0),  # each character is a word where words are not spaced
        ("<title>a</title><style>p{color:red}</style><script>let b</script><p>c</p>", 1, 0),
        ("<p hidden>a</p><p>b</p>", 1, 1),
        ('<div style="display: none"><div>a</div> b</div> c', 1, 2),
        ("<div style='VISIBILITY:HIDDEN'>a</div>", 0, 1),
        ('<p style="opacity:0">a</p><p style="opacity:0.5">b</p><p style="opacity:.01;">c</p>', 1, 2),
        ('<p style="font-size:0px">a</p><p style="font-size:0.8em">b</p>', 1, 1),
        ('<p style="color:#fff;background:#fff">a</p><p style="color:#000;background:#fff">b</p>', 1, 1),
        ('<p style="position:absolute;left:-9999px">a</p><p style="left:-5px">b</p>', 1, 1),
        ("<style>.x, #y { display:none } p.z{opacity: 0}</style>"
         '<i class="w x">a</i><i id="y">b</i><p class="z">c</p><i class="z">d</i>', 1, 3),
        ("<style>body *{visibility:hidden}</style><body>a<p>b</p></body>", 0, 2),  # taken for "*"
        ("<style>body{display:none}</style><body>a<p>b</p></body>", 0, 2),
        ("<template>a</template><noscript>b</noscript>c", 1, 2),
        ("<!-- a -->b<!-- c", 1, 2),
        ("<!DOCTYPE html><p>a", 1, 0),
        ("<p hidden>a<p>b</p></p>c", 1, 2),
    ],
)  # fmt: skip
def test_what_is_shown(source: str, shown: int, hidden: int):
    page = read_page(source)
    assert (page.shown, page.hidden) == (shown, hidden)


def test_content_is_text_values_and_styles_without_the_words_of_html():
    page = read_page('<!DOCTYPE html><html lang="en"><style>p{margin:3px}</style><a href="/Cart" class="x">Go</a>')
    assert page.content == {"p", "margin", "3px", "cart", "x", "go"}
    assert page.has_elements
    assert page.words[:4] == ["doctype", "html", "html", "lang"]
    assert not read_page("a < b > c").has_elements


@given(st.text(st.sampled_from("<>/!-\"'= apstyle:;{}")))
def test_never_raises(source: str):
    page = read_page(source)
    assert page.shown + page.hidden <= len(source)
