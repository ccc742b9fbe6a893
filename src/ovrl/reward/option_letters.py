"""Read which options of a multiple-choice question a reply offers: the letters that a person would see in it.

A letter is offered when it stands alone, and is not denied ("not B", "B is wrong"). Of several, those count
that are called the answer ("so the answer is C"), or that are concluded ("therefore C", "C is correct").
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise

_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u200c\u200d\u2060"))
_HTML_TAG = re.compile(r"</?(?:[a-z]|[A-Za-z]{2,6})\s*/?>")
_COMMAND = re.compile(r"\\(?:(?:boxed|fbox|text\w{0,4}|math\w{2,4}|emph|underline|left|right)\b|[()\[\]])")
# Markup and quotes around a letter carry no meaning: **B**, $B$, `B`, “B”, {B}, <B>.
_MARKUP = str.maketrans(dict.fromkeys('*`$"“”‘’{}<>', " "))

_BARE = re.compile(r"[^A-Za-z0-9¬≠\u0370-\uffff]*([A-Za-z])[\s.,;:!?()\[\]'_|/~=-]*")
# "(B) 12 cm", "B. cat", "B、cat", "B 38°": a letter, then something that ends it.
_LEADING = re.compile(
    r"[\s.'-]*(?:[(\[]\s*([A-Za-z])\s*[)\]]|([A-Za-z])\s*(?:[).:、]|\n)|([A-Z])(?=\s*[^\sA-Za-z'’,/&|?]))"
)
_NEXT_OPTION = re.compile(
    r"(?:\n[ \t]*+|[,;]\s*+(?:(?:or|and)\s+)?)[(\[]?([A-J])[)\].:、]\s*+\S"
    r"|(?<!\w)(\w{1,40})[.,;]?\s+[(\[]([A-J])[)\]]"
    r"|\b(?i:maybe|perhaps|possibly|alternatively|(?:could|might)(?: also)? be)\s+"
    r"[(\[]?([A-J])(?![A-Za-z0-9'’])"
)
"""Another option behind the first: on a line of its own, in a row of options, or as a second thought."""
_WITHIN_OPTION = frozenset(
    {"both", "and", "or", "of", "than", "in", "to", "from", "with", "neither", "either", "nor", "figure", "point"}
)
"""Words before a letter in brackets that belongs to the text of an option: "(D) both (A) and (B)"."""
_CUE = r"(?i:answer|ans|option|choice)(?i:\s+(?:is|would be|must be|should be))?\s*+[:=]?\s*+"
_CUED_LOWER = re.compile(
    rf"\b(?:{_CUE}[(\[]?([a-j])(?=[)\]]?\s*(?:[.,;:!?]|\Z|\n|\b(?:and|or)\b))"
    r"|(?i:option|choice)\s+([a-hj])\b|答案(?:是|为)?[:]?\s*([a-j])\b)"
)
_CUED_SET = re.compile(rf"\b({_CUE})([A-J]{{2,6}})(?![A-Za-z0-9'’])")

_LETTER = re.compile(r"(?<![A-Za-z0-9'’])(?:([A-Z])(?![A-Za-z0-9'’])|[(\[]([a-hj])[)\]])")
_JOIN = re.compile(
    r"[\s)\]]*(?:(,)|[/&+、|]|,?\s*\b(?i:and|or|nor)\b|和|或|)[\s(\[]*(?:(?i:maybe|perhaps|possibly|option|choice)\s+)?"
    r"[(\[]*"
)
"""Between two letters of one list; the group: nothing but a comma."""
_DENIED = re.compile(
    r"(?i:\b(?:not|never|neither|nor|except|excluding|excludes?|but not|rather than|instead of|than|over|vs\.?|rejects?"
    r"|eliminates?|rules? out|none of|all but)|n['’]t(?:\s+be)?|不是|不选|而非|排除|除了|[¬≠])"
    r"\s*(?:(?i:option|choice|answer|the answer)s?\s+)?[(\[]*\s*\Z"
)
_DENIES_LISTS = re.compile(r"(?i:\b(?:neither|none of|except|all but))\s*(?:(?i:options?|choices?)\s+)?[(\[]*\s*\Z")
_WRONG_AFTER = re.compile(
    r"[\s)\].:]*(?:(?i:is|are|was|were|seems?|looks?|would be|must be|can be)\b\s*)?"
    r"(?:(?i:clearly|definitely|obviously|also|both|therefore)\s+)?"
    r"(?:(?i:wrong|incorrect|false|impossible|excluded|eliminated|ruled out|out)\b"
    r"|(?i:not|cannot be|can['’]?t be|isn['’]?t|aren['’]?t|wasn['’]?t)\s+"
    r"(?:(?i:the|a|an)\s+)?(?:(?i:right|correct|best|true|answer|option|possible|valid|it)\b)"
    r"|(?i:doesn['’]?t|don['’]?t|does not|do not|cannot|can['’]?t)\s+(?i:fit|match|work|apply)\b|是?错|不对|不正确)"
)
_ANSWER = re.compile(
    r"(?:\b(?i:answer|ans|solution|correct\s+(?:option|choice|one|letter))(?:['’]s)?\b|答案)"
    r"(?:\s*(?i:is|was|would be|must be|should be|has to be)\b)?(?:是|为|应该是|选)?\s*(?:[:=\u2192-]\s*)?"
    r"(?:(?i:clearly|definitely|probably|therefore|most likely)\s+)?(?:(?i:option|choice|letter)\s+)?[(\[]*\s*\Z"
)
_CONCLUDED = re.compile(
    r"(?:\b(?i:so|thus|hence|therefore|choose|chose|pick|select|go(?:ing)? with|say)\b[\s,:]*"
    r"(?:(?i:it is|it's|it must be)\s+)?"
    r"|(?:故|应|我)?选择?|所以)\s*(?:(?i:the\s+)?(?i:option|choice)\s+)?[(\[]*\s*\Z"
)
_RIGHT_AFTER = re.compile(
    r"[\s)\]]*(?i:is|are|must be|would be|seems|looks)\s+(?:(?i:clearly|definitely|both|therefore)\s+)?(?:(?i:the)\s+)?"
    r"(?i:correct|right|best|true|answer)\b"
)
_TAKEN_BACK = re.compile(r"\b(?i:wait|actually|sorry|correction|hmm|rather|no)\b")
_ARTICLE = re.compile(r"\s+[a-z]{2,}")
_NO_ARTICLE = re.compile(r"\s+(?:and|or|is|because|since|as|would|should|must|can|matches|fits|seems)\b")
_SEPARATORS = re.compile(r"[\W_]+")
_MAX_LISTED = 100
"""A longer text is no list of letters."""
_AROUND = 48
"""Characters before and behind a letter that are looked at."""
_MAX_LETTERS = 200
"""More letters than this are no reply."""
_NONE: frozenset[str] = frozenset()


def tidy(text: str) -> str:
    """Return the text without markup, invisible characters and full-width forms."""
    if text.isascii():
        if text.isalnum():
            return text
    else:
        text = text.translate(_INVISIBLE).translate(_FULL_WIDTH)
    text = _HTML_TAG.sub(" ", text) if "<" in text else text
    text = _COMMAND.sub(" ", text) if "\\" in text else text
    return text.translate(_MARKUP).strip()


def offered(text: str) -> frozenset[str]:
    """Return the option letters that a tidy text offers, in upper case; empty when it offers none."""
    if bare := _BARE.fullmatch(text):
        return frozenset(bare[1].upper())
    if listed := _listed(text):
        return listed
    leading = _LEADING.match(text)
    if leading and not _WRONG_AFTER.match(text[leading.end() :][:_AROUND]):
        letter = next(group for group in leading.groups() if group).upper()
        return frozenset(letter) | _listed(text[leading.end() :]) | _further(text)
    return _in_prose(text)


def as_set(text: str) -> frozenset[str]:
    """Return the letters of a text that is one row of different letters in any order and case ("bda"), else nothing."""
    if len(text) > _MAX_LISTED:
        return _NONE
    row = "".join(_SEPARATORS.split(text)).upper()
    return frozenset(row) if row.isascii() and row.isalpha() and len(set(row)) == len(row) else _NONE


def option_text(text: str) -> str:
    """Return what stands behind the letter of a tidy option ("cat" of "(B) cat"); empty when there is none."""
    leading = _LEADING.match(text)
    return text[leading.end() :].strip(" .") if leading else ""


@dataclass(frozen=True, slots=True)
class _Run:
    """Letters that stand in one list, and what is said of them."""

    letters: frozenset[str]
    start: int
    end: int
    is_answer: bool
    is_concluded: bool


def _in_prose(text: str) -> frozenset[str]:
    """Return the letters that count in running text: the answers, else the conclusions, else all of a line."""
    text = _CUED_LOWER.sub(lambda match: match[0][:-1] + match[0][-1].upper(), text)
    text = _CUED_SET.sub(lambda match: match[1] + ", ".join(match[2]) if _is_letters(match[2]) else match[0], text)
    runs = list(_runs(text))
    for chosen in ([run for run in runs if run.is_answer], [run for run in runs if run.is_concluded]):
        if chosen:
            return _last_word(chosen, text)
    lines = sorted({text.count("\n", 0, run.start) for run in runs})
    if not lines:
        return _NONE
    line = 0 if 0 in lines else lines[-1]
    return frozenset[str]().union(*(run.letters for run in runs if text.count("\n", 0, run.start) == line))


def _last_word(runs: list[_Run], text: str) -> frozenset[str]:
    """Return the letters of these runs, without those before something that takes them back."""
    letters = runs[0].letters
    for before, run in pairwise(runs):
        is_new = _TAKEN_BACK.search(text, before.end, run.start) is not None
        letters = run.letters if is_new else letters | run.letters
    return letters


def _runs(text: str) -> Iterator[_Run]:
    """Yield the lists of letters in a text, without denied ones, articles and pronouns."""
    group: list[re.Match[str]] = []
    for match in _letters(text):
        if group:
            join = _JOIN.fullmatch(text, group[-1].end(), match.start())
            before = text[max(0, group[0].start() - _AROUND) : group[0].start()]
            splits = join is None or (join[1] and _DENIED.search(before) and not _DENIES_LISTS.search(before))
            if not splits:
                group.append(match)
                continue
            yield from _run(group, text)
        group = [match]
    if group:
        yield from _run(group, text)


def _run(group: list[re.Match[str]], text: str) -> Iterator[_Run]:
    start, end = group[0].start(), group[-1].end()
    before, after = text[max(0, start - _AROUND) : start], text[end : end + _AROUND]
    if _DENIED.search(before) or _WRONG_AFTER.match(after):
        return
    letters = frozenset((match[1] or match[2]).upper() for match in group)
    is_concluded = bool(_CONCLUDED.search(before) or _RIGHT_AFTER.match(after))
    yield _Run(letters, start, end, bool(_ANSWER.search(before)), is_concluded)


def _letters(text: str) -> list[re.Match[str]]:
    """Return the letters that stand alone; those beyond J are names of points and the like, if there are others."""
    found = [match for match in islice(_LETTER.finditer(text), _MAX_LETTERS) if not _is_word(match, text)]
    options = [match for match in found if (match[1] or "A") <= "J"]
    return options or found


def _is_word(match: re.Match[str], text: str) -> bool:
    """Tell the article and the pronoun from a letter."""
    after = text[match.end() : match.end() + 12]
    if match[1] == "I" and re.match(r"\s+(?:would|must|should|can)\b", after):
        return True
    return match[1] in ("A", "I") and bool(_ARTICLE.match(after)) and not _NO_ARTICLE.match(after)


def _further(text: str) -> frozenset[str]:
    """Return the letters of further options behind the first, unless they are called wrong."""
    found: set[str] = set()
    for match in islice(_NEXT_OPTION.finditer(text), _MAX_LETTERS):
        group = next(number for number in (1, 3, 4) if match[number])
        is_text = group == 3 and match[2].lower() in _WITHIN_OPTION
        if not is_text and not _WRONG_AFTER.match(text[match.end(group) : match.end(group) + _AROUND]):
            found.add(match[group])
    return frozenset(found)


def _listed(text: str) -> frozenset[str]:
    """Return the letters of a text that is nothing but letters ("A, c", "B and D", "ACD"), else nothing."""
    if len(text) > _MAX_LISTED or "¬" in text or "≠" in text:
        return _NONE
    words = [word for word in _SEPARATORS.split(text) if word and word.lower() not in {"and", "or"}]
    return frozenset("".join(words).upper()) if all(map(_is_letters, words)) else _NONE


def _is_letters(word: str) -> bool:
    """Tell a letter, or letters in order as in "ABD", from a word."""
    if not word.isascii() or not word.isalpha():
        return False
    return len(word) == 1 or (word.isupper() and list(word) == sorted(set(word)) and max(word) <= "J")
