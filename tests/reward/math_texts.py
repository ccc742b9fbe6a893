"""Random mathematical answers for differential tests: of the kinds that data sets and models write."""

import random
import re


def answers(seed: int, count: int) -> list[tuple[str, str]]:
    """Return pairs of an answer and the same, changed a little or not at all."""
    source = _Source(seed)
    pairs: list[tuple[str, str]] = []
    for _ in range(count):
        text = source.text()
        pairs.append((text, source.changed(text)))
    return pairs


def formulas(seed: int, count: int) -> list[tuple[str, str]]:
    """Return pairs of LaTeX formulas without dollar signs."""
    source = _Source(seed)
    pairs: list[tuple[str, str]] = []
    for _ in range(count):
        formula = source.formula()
        pairs.append((formula, source.changed(formula, source.formula)))
    return pairs


class _Source:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def _pick(self, *choices: str) -> str:
        return self._random.choice(choices)

    def _int(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def decimal(self) -> str:
        """Return a number as people write it, often at the edge where six decimals or two round."""
        i = self._int
        return self._pick(
            f"{i(0, 99)}.{i(0, 9_999_999)}",
            f"0.{i(0, 9)}{self._pick('0000005', '00000049', '333333', '3333335', '9999995')}",
            f"{i(0, 9)}.{i(0, 99)}5",
            str(i(-50, 50)),
            f"{i(1, 9)},{i(0, 999):03d}",
            f"0,{i(0, 999):03d}",
            f"{i(1, 30)}/{i(1, 12)}",
            f".{i(1, 99)}",
            f"-{i(1, 9)}.{i(0, 99)}",
            f"{i(0, 20)}{self._pick('', '.', ',', ' ')}",
        )

    def number(self) -> str:
        i = self._int
        return self._pick(
            str(i(-12, 12)),
            f"{i(-5, 9)}.{self._pick('0', '5', '25', '50', '333333')}",
            f"\\frac{{{i(-9, 9)}}}{{{i(1, 9)}}}",
            f"{i(1, 5)}\\frac{{{i(1, 4)}}}{{{i(2, 6)}}}",
            f"{i(1, 9)}/{i(1, 9)}",
            f"\\sqrt{{{i(1, 20)}}}",
            f"{i(2, 4)}\\sqrt{{{i(2, 12)}}}",
            f"\\frac{{\\sqrt{{{i(1, 8)}}}}}{{{i(1, 6)}}}",
            f"\\frac{{1}}{{\\sqrt{{{i(2, 8)}}}}}",
            f"{i(1, 99)}\\%",
            f"{i(1, 9)}.{i(1, 9)} \\times 10^{{{i(-2, 4)}}}",
            f"{i(1, 5)}^{{{i(0, 4)}}}",
            f"{i(0, 6)}!",
            f"{i(1, 9)}:{i(1, 9)}",
            f"{i(-3, 3)}+{i(-3, 3)}",
            *("\\pi", "2\\pi", "\\infty", "-\\infty"),
        )

    def polynomial(self) -> str:
        i, v = self._int, self._pick("x", "y", "a")
        return self._pick(
            *(v, f"{i(2, 4)}{v}", f"-{v}", f"{v}-{i(1, 4)}", f"{i(2, 3)}{v}+{i(1, 4)}", f"\\frac{{{v}}}{{2}}"),
            f"({v}+{i(1, 4)})({v}+{i(1, 4)})",
            f"{v}^2+{i(2, 6)}{v}+{i(1, 8)}",
            f"{i(1, 8)}+{i(2, 6)}{v}+{v}^{{2}}",
            f"({v}-{i(1, 4)})^2",
            f"{i(2, 3)}({v}+{i(1, 3)})",
            *("x y", "\\pi r^2", "\\text{yes}", "\\text{No}", "7+3i", "3i", "x_1", "2x^{2}y", "\\alpha"),
        )

    def formula(self) -> str:
        i = self._int
        parts = [self.number() if self._random.random() < 0.4 else str(i(-4, 4)) for _ in range(3)]
        return self._pick(
            *(self.number(), self.number(), self.number(), self.polynomial(), self.polynomial()),
            self._pick("(", "[") + ", ".join(parts[: i(2, 3)]) + self._pick(")", ")", "]"),
            "\\{" + ", ".join(parts[: i(1, 3)]) + "\\}",
            ", ".join(parts[:2]),
            self._pick("x", "y") + self._pick("=", " = ", "<", ">", " \\le ") + parts[0],
            f"x={i(-2, 3)}, {self._pick('x', 'y')}={i(-2, 3)}",
            f"y={self.polynomial()}",
            f"{i(-2, 2)}<x<{i(1, 4)}",
            f"\\begin{{pmatrix}}{i(-1, 2)} & {i(-1, 2)} \\\\ {i(-1, 2)} & {i(-1, 2)}\\end{{pmatrix}}",
            self._pick(
                "3<x",
                "x > 3",
                "P=(3, 4)",
                "x=y=2",
                "2a=10",
                "x>2",
                "-1<x",
                "x \\le 2",
                "e",
                "2e",
                "2.718282",
                "(1,2)\\cup(3,4)",
                "|x|",
                "\\sin x",
            ),
            self._pick("[[1,2],[3,4]]", "(1, \\infty)", "(-\\infty, 2]", "(2, \\infty)", "xy", "yx", "1 2", "7 2/4"),
            self._pick("\\sqrt[3]{8}", "\\sqrt[3]{9}", "\\sqrt[4]{16}", "2.25", "[-1, 2]", "(1,2)", "1<x<2", "pi"),
        )

    def text(self) -> str:
        i, number = self._int, self.decimal()
        return self._pick(
            *(number, number, f"${self.formula()}$", self.formula()),
            number + self._pick(" cm", "cm", "%", " percent", " m^2", "厘米", "°", "N", "\\text{ cm}", " km/h"),
            self._pick("x = ", "x=", "The answer is ", "$", "¥", "\\$", "about ", "Answer: ", "AB = ") + number,
            f"\\boxed{{{number}}}",
            self._pick(*"ABCxy") + self._pick("", ".", ")", " and B", " = 5", ": cat"),
            f"{i(1, 9)}{self._pick(*'+-*/^×')}{i(1, 4)}" + self._pick("", "=7", "*2", "/3", "(2)", " cm"),
            f"({number}, {self.decimal()})",
            self._pick(
                "\\text{6}", "1 and 2", "$1$ and $2$", "$x=1$, $x=2$", "$\\boxed{1/2}$", "answer 7", "１２", "1e5"
            ),
            "final answer is $3$. I hope",
        )

    def changed(self, text: str, other: "object" = None) -> str:
        """Return the text, or a near miss, or another one."""
        fresh = other if callable(other) else self.text
        kind = self._random.random()
        digits = list(re.finditer(r"[0-9]", text))
        if kind < 0.35:
            return text
        if kind < 0.45:
            return text.replace(" ", "")
        if kind < 0.75 and digits:
            at = self._random.choice(digits).start()
            return text[:at] + str(self._int(0, 9)) + text[at + 1 :]
        if kind < 0.85 and other is None:
            return text + self._pick("0", ".0", " ", "%", " cm", ".")
        return fresh()
