"""Multiple choice: the scorer gets the letter and nothing else, and a wrong one where no option is named."""

import ast
import re
from collections.abc import Callable, Iterable
from typing import Any

from ovrl.eval.lmms.harness.adapters import reading
from ovrl.eval.lmms.harness.adapters.adapter import Adapter, Doc, Upstream

Options = Callable[[Doc], dict[str, str]]


class Choice(Adapter):
    """A task whose scorer reads a letter."""

    def __init__(self, options: Options, unread: str = "", gold: Callable[[Doc], str] | None = None) -> None:
        """Take where the options stand.

        Args:
            options: returns the options of a document by letter.
            unread: what the scorer takes for no letter at all.
            gold: the right letter, where the scorer makes a letter of everything: then an answer that names no
                option is given to it as one of the wrong ones.
        """
        self._options, self._unread, self._gold = options, unread, gold

    def reply(self, doc: Doc, answer: str) -> str:
        """Return the letter."""
        options = self._options(doc)
        found = reading.letter(answer, options)
        if found is not None or self._gold is None:
            return self._unread if found is None else found
        return next((one for one in options if one != self._gold(doc)), self._unread)


class ByRules(Choice):
    """A task for which upstream asks a language model where it finds no letter; here rules find it."""

    @property
    def judged_by(self) -> str:
        """Return `rules`."""
        return "rules"


class ExactChoice(Choice):
    """A task without a scorer: the letter is compared with the target by upstream's metric."""

    has_scorer = True

    def __init__(self, options: Options, target: Callable[[Doc], int]) -> None:
        """Take where the options stand, and the place of the right one."""
        super().__init__(options)
        self._target = target

    def judge(self, doc: Doc, reply: str, upstream: Upstream | None) -> dict[str, Any]:
        """Return `exact_match` as lmms-eval computes it."""
        from lmms_eval.api import metrics  # pyright: ignore[reportMissingImports]

        target = list(self._options(doc))[self._target(doc)]
        found = metrics.exact_match_hf_evaluate([reply], [target], ignore_case=True, ignore_punctuation=True)
        return {"exact_match": float(found["exact_match"])}


class SeedImage(Choice):
    """SEED-Bench: the rows with one image, not those with a video."""

    def docs(self, docs: Any) -> Any:
        """Return the rows with an image."""
        return docs.filter(lambda kind: kind == "image", input_columns=["data_type"])


class OpenOrChoice(Choice):
    """RealWorldQA: a letter where the question lists options, else a word or a number."""

    def reply(self, doc: Doc, answer: str) -> str:
        """Return the letter, the number in digits if the answer is one, or the text."""
        if len(self._options(doc)) > 1:
            return super().reply(doc, answer)
        found = reading.number(answer) if str(doc["answer"]).strip().isdigit() else None
        return found or reading.stated(answer)


def lettered(texts: Iterable[Any]) -> dict[str, str]:
    """Return texts by the letters A, B, C, ..."""
    return {chr(ord("A") + place): str(text) for place, text in enumerate(texts)}


def column(name: str) -> Options:
    """Return a reader of options that stand in a list."""
    return lambda doc: lettered(doc[name])


def literal(name: str) -> Options:
    """Return a reader of options that stand in a list that was written as text."""
    return lambda doc: lettered(ast.literal_eval(doc[name]) if doc.get(name) else "ABCDEFGHIJ")


def columns(prefix: str, letters: str) -> Options:
    """Return a reader of options that have a column each; those that are empty or "nan" do not count."""

    def read(doc: Doc) -> dict[str, str]:
        texts = {one.upper(): doc.get(prefix + one) for one in letters}
        return {one: str(text) for one, text in texts.items() if text == text and text not in (None, "", "nan")}

    return read


def bracketed(name: str) -> Options:
    """Return a reader of a list of options such as "(A) a red car"."""

    def read(doc: Doc) -> dict[str, str]:
        found = [re.match(r"\s*[(（]([A-Z])[)）]\s*(.*)", text, re.DOTALL) for text in doc[name]]
        return {one[1]: one[2] for one in found if one}

    return read


def within(name: str, mark: str, *, default: str = "") -> Options:
    """Return a reader of options that stand in the question, each behind its mark.

    Args:
        name: the column of the question.
        mark: pattern of what stands before an option, with the letter as its group.
        default: the letters that there are when the question lists none.
    """
    pattern = re.compile(rf"(?:\A|(?<=[\s,;]))(?:{mark})")

    def read(doc: Doc) -> dict[str, str]:
        return _parts(doc[name], pattern) or dict.fromkeys(default, "")

    return read


def _parts(text: str, mark: re.Pattern[str]) -> dict[str, str]:
    """Return what stands behind each mark up to the next one; marks out of order belong to the text."""
    found: list[re.Match[str]] = []
    for match in mark.finditer(text):
        if match[1] == chr(ord("A") + len(found)):
            found.append(match)
    if not found:
        return {}
    ends: list[int] = [match.start() for match in found[1:]] + [len(text)]
    return {
        match[1]: text[match.end() : end].split("\n")[0].strip(" ,;") for match, end in zip(found, ends, strict=True)
    }


def by_letter(name: str) -> Callable[[Doc], str]:
    """Return a reader of a column that has the right letter."""
    return lambda doc: str(doc[name])
