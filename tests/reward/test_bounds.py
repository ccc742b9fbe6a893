import pytest

from ovrl.reward.bounds import has_simple_relations, is_bounded_text, is_bounded_tree

sympy = pytest.importorskip("sympy")
x = sympy.Symbol("x")
Pow = sympy.Pow


@pytest.mark.parametrize(
    "text",
    [
        *("2\\sqrt{3}", "x^{2}+1", "e^{x^2}", "10^{100}", "(x+1)^{10}", "\\frac{5!}{3!}", "\\sin^2 x", "\\log_{2} 8"),
        *("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "|x|", "\\text{cm}", "123456789012345678901234567890"),
        "\\frac{(5)!}{((5)-(2))!}",
    ],
)
def test_what_may_be_parsed(text: str):
    assert is_bounded_text(text)


@pytest.mark.parametrize(
    "text",
    [
        *("9^{9^{9}}", "9^9^9", "9**9**9", "x^{9^x}", "2^{9999}", "2^{-99999}", "((2^{99})^{99})^{99}", "{2}^{99}"),
        *("1000!", "5!!", "(5!)!", "(n+1)!", "2^{5!}", "\\binom{9}{2}", "\\gcd(4,6)", "\\det(x)", "\\sum_{k} k"),
        *("\\int x dx", "\\prod x", "\\lim_{x}", "\\operatorname{eye}(9)", "\\Gamma(5)", "\\frac{d}{dx} x", "\\|x\\|"),
        *("\\begin{vmatrix}1\\end{vmatrix}", "x|_{1}", "(" * 16 + ")" * 16, "1+" * 300, "9" * 61, "\\sqrt{1}" * 7),
        "&" * 26,
    ],
)
def test_what_may_not(text: str):
    assert not is_bounded_text(text)


def test_trees():
    assert is_bounded_tree(sympy.sqrt(2) + x**10)
    assert is_bounded_tree(sympy.Matrix([[1, 2]]))
    assert not is_bounded_tree(Pow(Pow(9, 999, evaluate=False), 999, evaluate=False))
    assert not is_bounded_tree(Pow(9, Pow(9, 9, evaluate=False), evaluate=False))
    assert not is_bounded_tree(sympy.factorial(201, evaluate=False))
    assert not is_bounded_tree(sympy.Integral(x, x))
    assert not is_bounded_tree(sympy.Sum(x, (x, 1, 10)))
    assert not is_bounded_tree(sympy.Add(*[x**k for k in range(200)], evaluate=False))
    assert not is_bounded_tree("text")
    square = sympy.ImmutableMatrix([[x, 1], [1, x]])
    assert is_bounded_tree(Pow(square, 2, evaluate=False))
    assert not is_bounded_tree(Pow(square, 9, evaluate=False))


def test_relations_that_may_be_solved():
    y = sympy.Symbol("y")
    assert has_simple_relations(sympy.Eq(x**2 + y**2, 25))
    assert has_simple_relations(x + 1)
    assert not has_simple_relations(sympy.Eq(x**17 - 3 * x, 1))
    assert not has_simple_relations((x + 1) ** 5 > 2)
    assert not has_simple_relations(sympy.Eq(sympy.sin(x), y))
