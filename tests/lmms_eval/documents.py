"""Made documents of each benchmark, with the columns and spellings that its upstream code reads. No data set is loaded.

`gold` and `wrong` are what a model would write between the answer tags.
"""

import base64
import io
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

COLOURS = ("red", "green", "blue", "black", "white")


@dataclass(frozen=True)
class Case:
    doc: dict[str, Any]
    gold: str
    wrong: str
    shows: tuple[str, ...] = ()
    """What has to stand in the prompt."""
    images: int = 1


@dataclass(frozen=True)
class Made:
    cases: list[Case]
    instruction: str = ""
    """Part of upstream's own instruction; it must not reach the model."""
    spoken: bool = True
    """Whether an answer without tags is read."""
    floor: float = 0.0
    """What a wrong answer may get, where likeness is measured."""
    loaded: bool = False
    """Whether the documents go through `process_docs`, as a data set."""
    extra: list[dict[str, Any]] = field(default_factory=list)
    """Further documents that `process_docs` has to leave out."""

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of the data set; one may have several questions."""
        docs = [case.doc for case in self.cases]
        return [doc for i, doc in enumerate(docs) if i == 0 or doc is not docs[i - 1]] + self.extra


def picture(place: int = 0) -> Image.Image:
    return Image.new("RGB", (32, 32), COLOURS[place % 5])


def encoded(place: int) -> str:
    stream = io.BytesIO()
    picture(place).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


WORDS = ("a cat", "two dogs", "Vitamin C", "12 cm")
ANSWERS = (
    ("A", "C"),
    ("(B)", "(A)"),
    ("C. Vitamin C", "D. 12 cm"),
    ("12 cm", "two dogs"),
    ("b", "d"),
    ("Vitamin C", "a cat"),
)
"""Right and wrong answers to questions with the options WORDS, in the ways that they are written."""
RIGHT = "ABCDBC"
LETTER = "Answer with the option's letter from the given choices directly"


def choices(doc: Any, shows: Any = lambda place: ("What is", *WORDS), images: int = 1) -> list[Case]:
    """Return six questions with the options WORDS; `doc(place, letter)` makes the document."""
    return [
        Case(doc(place, RIGHT[place]), gold, wrong, shows(place), images) for place, (gold, wrong) in enumerate(ANSWERS)
    ]


def mmstar() -> Made:
    listed = ", ".join(f"{one}: {text}" for one, text in zip("ABCD", WORDS, strict=True))

    def doc(place: int, letter: str) -> dict[str, Any]:
        return {
            "index": place,
            "question": f"What is {place}?\nOptions: {listed}",
            "image": picture(place),
            "answer": letter,
            "category": "coarse perception",
            "l2_category": ("image emotion", "recognition")[place % 2],
            "meta_info": {},
        }

    return Made(choices(doc), "Answer with the option's letter")


def mmbench(instruction: str) -> Made:
    def doc(place: int, letter: str) -> dict[str, Any]:
        return {
            "index": 10 + place,
            "question": f"What is {place}?",
            "hint": "nan" if place else "Look up.",
            "answer": letter,
            **dict(zip("ABCD", WORDS, strict=True)),
            "category": "ocr",
            "image": picture(place),
            "source": "made",
            "L2-category": "finegrained_perception",
            "comment": "nan",
            "split": "dev",
        }

    two = doc(7, "B") | {"A": "left", "B": "right", "C": "nan", "D": "nan"}
    return Made([*choices(doc), Case(two, "right", "left", ("left", "right"))], instruction)


def mmerealworld(instruction: str) -> Made:
    def doc(place: int, letter: str) -> dict[str, Any]:
        texts = (*WORDS, "The image does not feature it.")
        return {
            "index": place,
            "bytes": encoded(place),
            "question": f"What is {place}?",
            "answer": letter,
            "multi-choice options": [f"({one}) {text}" for one, text in zip("ABCDE", texts, strict=True)],
            "category": ("Perception/Monitoring", "Reasoning/OCR with Complex Context")[place % 2],
            "l2-category": ("intention/attribute", "scene understanding")[place % 2],
        }

    return Made(choices(doc), instruction)


def seedbench() -> Made:
    def doc(place: int, letter: str) -> dict[str, Any]:
        texts = {f"choice_{one}": text for one, text in zip("abcd", WORDS, strict=True)}
        return {
            "question": f"What is {place}?",
            **texts,
            "answer": letter,
            "data_type": "image",
            "image": [picture(place)],
            "question_id": str(place),
            "question_type_id": 1,
        }

    video = doc(9, "A") | {"data_type": "video", "image": [picture(), picture()]}
    return Made(choices(doc), LETTER, loaded=True, extra=[video])


def cv_bench() -> Made:
    def doc(place: int, letter: str) -> dict[str, Any]:
        listed = "".join(f"\n({one}) {text}" for one, text in zip("ABCD", WORDS, strict=True))
        return {
            "idx": place,
            "type": "2D",
            "task": "Count",
            "image": picture(place),
            "question": f"What is {place}?",
            "choices": list(WORDS),
            "answer": f"({letter})",
            "source": "COCO",
            "filename": "x.png",
            "prompt": f"What is {place}? Select from the following choices.{listed}",
        }

    return Made(choices(doc), "without providing any additional information")


def seedbench_2_plus() -> Made:
    def doc(place: int, letter: str) -> dict[str, Any]:
        texts = {f"choice_{one}": text for one, text in zip("ABCD", WORDS, strict=True)}
        return {
            "question": f"What is {place}?",
            **texts,
            "answer": letter,
            "image": picture(place),
            "question_id": str(place),
            "question_image_type": ("chart", "map", "web")[place % 3],
        }

    return Made(choices(doc), LETTER)


def realworldqa() -> Made:
    def doc(place: int, letter: str) -> dict[str, Any]:
        listed = "\n".join(f"{one}. {text}" for one, text in zip("ABCD", WORDS, strict=True))
        end = "Please answer directly with only the letter of the correct option and nothing else."
        return {"image": picture(place), "question": f"What is {place}?\n\n{listed}\n{end}", "answer": letter}

    def opened(question: str, answer: str) -> dict[str, Any]:
        text = f"{question} Please answer directly with a single word or number."
        return {"image": picture(), "question": text, "answer": answer}

    more = [
        Case(opened("How many cars are there?", "2"), "two", "three", ("How many cars",)),
        Case(opened("Is it uphill?", "Downhill"), "downhill.", "uphill", ("Is it uphill",)),
        Case(opened("Is there a sign?", "No"), "No", "Yes", ("Is there a sign",)),
    ]
    return Made(choices(doc) + more, "Please answer directly")


def mathvista() -> Made:
    def doc(place: int, kind: str, answer: str, **more: Any) -> dict[str, Any]:
        return {
            "pid": str(place),
            "question": f"What is {place}?",
            "image": "images/1.jpg",
            "decoded_image": picture(place),
            "choices": None,
            "unit": None,
            "precision": None,
            "answer": answer,
            "answer_type": kind,
            "query": "unused",
            "question_type": "free_form",
            "metadata": {"split": "testmini", "skills": ["arithmetic reasoning"]},
            **more,
        }

    def chosen(place: int, options: list[str], answer: str) -> dict[str, Any]:
        return doc(place, "text", answer, choices=options, question_type="multi_choice")

    words = list(WORDS)
    return Made(
        [
            Case(chosen(0, words, "two dogs"), "B", "A", ("What is 0", *WORDS)),
            Case(chosen(1, words, "Vitamin C"), "Vitamin C", "two dogs", tuple(WORDS)),
            Case(chosen(2, ["f(x) = 2", "f(x) = x", "g(a)"], "f(x) = x"), "(B)", "(C)", ("f(x) = x",)),
            Case(doc(3, "integer", "14"), "14", "15", ("What is 3",)),
            Case(doc(4, "integer", "3"), "three apples", "four apples"),
            Case(doc(5, "float", "1.2", precision=1.0), "1.2", "1.4"),
            Case(doc(6, "float", "0.60", precision=2.0, unit="$"), "$0.60", "$0.70", ("$",)),
            Case(doc(7, "list", "[2007, 2008]", precision=0.0), "[2007,2008]", "[2006, 2008]"),
        ],
        "Answer ",
    )


def wemath() -> Made:
    keys = ("2steps_1", "2steps_2", "2steps_multi", "3steps_1", "3steps_2", "3steps_3", "3steps_multi")
    cases = []
    for place, key in enumerate(keys):
        gold, wrong = ANSWERS[place % 6]
        doc = {
            "ID": key[0],
            "split": "testmini",
            "knowledge concept": "area",
            "question": f"What is {place}?",
            "key": key,
            "option": "; ".join(f"{one}. {text}" for one, text in zip("ABCD", WORDS, strict=True))
            + "; E. No correct answer",
            "answer": RIGHT[place % 6],
            "image_path": picture(place),
            "question number": place,
            "knowledge concept description": "",
        }
        cases.append(Case(doc, gold, wrong, ("What is", *WORDS)))
    return Made(cases, "reasoning process")


def mathvision() -> Made:
    def doc(place: int, answer: str, options: list[str]) -> dict[str, Any]:
        return {
            "id": str(place),
            "question": f"What is {place}?\n<image1>",
            "options": options,
            "image": "images/1.jpg",
            "decoded_image": picture(place),
            "answer": answer,
            "solution": None,
            "level": 3,
            "subject": "algebra",
        }

    cases = choices(lambda place, letter: doc(place, letter, list(WORDS)))
    more = [
        Case(doc(7, "12", []), "12", "13", ("What is 7",)),
        Case(doc(8, "0.75", []), "\\frac{3}{4}", "\\frac{1}{4}"),
        Case(doc(9, "2\\sqrt{3}", []), "$2\\sqrt{3}$", "$3\\sqrt{2}$"),
        Case(doc(10, "1440", []), "1,440 cm", "1,441 cm"),
    ]
    return Made(cases + more, "Please solve the problem step by step")


def mmmu() -> Made:
    def doc(place: int, answer: str, options: str, kind: str = "multiple-choice") -> dict[str, Any]:
        return {
            "id": f"validation_{('Art', 'Math')[place % 2]}_{place}",
            "question": f"What is <image 1> of {place}?",
            "options": options,
            "explanation": "",
            "image_1": picture(place),
            "answer": answer,
            "question_type": kind,
        } | {f"image_{more}": None for more in range(2, 8)}

    cases = choices(lambda place, letter: doc(place, letter, str(list(WORDS))))
    pictured = doc(6, "B", "['<image 1>', '<image 2>']") | {"question": "Which one?", "image_2": picture(1)}
    more = [
        Case(pictured, "B", "A", ("Which one",), images=2),
        Case(doc(7, "8", "[]", "open"), "8", "9", ("What is",)),
        Case(doc(8, "['24/7', '3.429']", "[]", "open"), "3.429", "5"),
        Case(doc(9, "Trapezoid", "[]", "open"), "trapezoid", "square"),
    ]
    return Made(cases + more, "Answer ")


def mmmu_pro(part: str) -> Made:
    def doc(place: int, letter: str) -> dict[str, Any]:
        common = {"id": f"test_{place}", "options": str([*WORDS, *"123456"]), "answer": letter, "subject": "Art"}
        if part == "vision":
            return common | {"image": picture(place)}
        return common | {"question": f"What is <image 1> of {place}?", "image_1": picture(place), "image_2": None}

    shows = (lambda place: ("Answer the question",)) if part == "vision" else (lambda place: ("What is", *WORDS))
    return Made(choices(doc, shows), "option letter")


def chartqa() -> Made:
    def doc(place: int, answer: str) -> dict[str, Any]:
        kind = ("human_test", "augmented_test")[place % 2]
        return {"image": picture(place), "question": f"What is {place}?", "answer": answer, "type": kind}

    given = [
        ("14", "14", "16"),
        ("1200", "1,200", "1,300"),
        ("Yes", "yes.", "No"),
        ("0.62", "62%", "72%"),
        ("14", "14%", "20%"),
        ("Burundi", "Burundi", "Chad"),
        ("3", "three", "four"),
    ]
    return Made([Case(doc(i, a), g, w, ("What is",)) for i, (a, g, w) in enumerate(given)], "single word")


def charxiv() -> Made:
    answers = [
        (
            (1, "Loss over time", "(a) Loss over time", "Accuracy"),
            (2, "$R^2_{t}$", "R^2_t", "R^2"),
            (4, "0.0", "0", "1"),
            (10, "Not Applicable", "Not Applicable", "3"),
        ),
        (
            (11, "No", "no", "yes"),
            (13, "α, b", "\\alpha, b", "b, α"),
            (16, "increases then stabilizes", "Increasing then stabilizing", "decreases"),
            (18, "1 by 2", "1 by 2", "2 by 1"),
        ),
    ]
    cases = []
    for place, figure in enumerate(answers):
        row = {
            "image": picture(place),
            "figure_path": f"images/{place}.jpg",
            "subplot_loc": None,
            "subplot_row": 1,
            "subplot_col": 1,
        }
        for number, (template, answer, _, _) in enumerate(figure, start=1):
            row |= {f"descriptive_q{number}": template, f"descriptive_a{number}": answer}
        words = {
            1: "title",
            2: "x-axis",
            4: "leftmost",
            10: "how many lines",
            11: "intersect",
            13: "names of the labels",
        }
        cases += [
            Case(row, gold, wrong, (words.get(t, "layout" if t == 18 else "trend"),)) for t, _, gold, wrong in figure
        ]
    return Made(cases, loaded=True)


def read_documents() -> Made:
    def doc(place: int, answers: list[str]) -> dict[str, Any]:
        return {
            "questionId": str(place),
            "question": f"What is {place}?",
            "image": picture(place),
            "answers": answers,
            "docId": place,
            "question_types": ["layout"],
            "data_split": "val",
        }

    given = [
        (["1998"], "1998", "2003"),
        (["T.F. Riehl", "Riehl"], "riehl", "Smith"),
        (["the Williamsburg"], "The Williamsburg.", "no"),
        (["$ 12.50"], "$ 12.50", "99"),
        (["ITC Limited"], "ITC Limited", "Shell"),
    ]
    return Made([Case(doc(i, a), g, w, ("What is",)) for i, (a, g, w) in enumerate(given)], "single word or phrase")


def ocrbench() -> Made:
    def doc(place: int, kind: str, answer: list[str], dataset: str = "IIIT5K") -> dict[str, Any]:
        return {
            "dataset": dataset,
            "question": f"what is written in image {place}?",
            "question_type": kind,
            "answer": answer,
            "image": picture(place),
        }

    formula = "Handwritten Mathematical Expression Recognition"
    given = [
        ("Regular Text Recognition", ["CENTRE"], "centre", "center"),
        ("Doc-oriented VQA", ["12/05", "5 Dec"], "5 Dec", "6 Dec"),
        ("Key Information Extraction", ["8.20"], "8.20", "9.20"),
        ("Digit String Recognition", ["4821"], "4821", "4812"),
        ("Scene Text-centric VQA", ["exit"], "EXIT", "STOP"),
    ]
    cases = [Case(doc(i, k, a), g, w, ("what is written",)) for i, (k, a, g, w) in enumerate(given)]
    return Made([*cases, Case(doc(5, formula, ["x ^ { 2 }"], "HME100k"), "x^{2}", "y^{2}")])


def ai2d() -> Made:
    def doc(place: int, letter: str) -> dict[str, Any]:
        return {
            "question": f"What is {place}?",
            "options": list(WORDS),
            "answer": str("ABCD".index(letter)),
            "image": picture(place),
        }

    return Made(choices(doc), LETTER)


def sat() -> Made:
    def doc(place: int, letter: str) -> dict[str, Any]:
        return {
            "image_bytes": [picture(place), picture(1)],
            "question": f"What is {place}?",
            "answers": list(WORDS),
            "correct_answer_idx": "ABCD".index(letter),
            "question_type": "obj_movement",
        }

    return Made(choices(doc, images=2), "Only output the letter")


COUNTS = (("3", "4"), ("seven", "eight"), ("12 chairs", "11 chairs"), ("2.", "3."), ("There are 5.", "There are 6."))
COUNTED = (3, 7, 12, 2, 5)


def pixmo_count() -> Made:
    docs = [
        {"question": f"How many things {i}?<image>", "image": picture(i), "answer": str(n)}
        for i, n in enumerate(COUNTED)
    ]
    return Made(
        [Case(doc, gold, wrong, ("How many",)) for doc, (gold, wrong) in zip(docs, COUNTS, strict=True)],
        "single number",
    )


def countbench() -> Made:
    docs = [
        {"question": f"How many things {i}?", "image": picture(i), "number": n, "text": "caption"}
        for i, n in enumerate(COUNTED)
    ]
    return Made(
        [Case(doc, gold, wrong, ("How many",)) for doc, (gold, wrong) in zip(docs, COUNTS, strict=True)],
        "just a number",
    )


def vl_rewardbench() -> Made:
    def doc(place: int, first_is_better: bool) -> tuple[dict[str, Any], str, str]:
        answers = ["It is red.", "It is green and large." + "." * (place % 2)]
        kind = ("RLAIF-V-1", "mathverse_2", "wildvision-battle-3")[place % 3]
        swapped = sum(map(len, answers)) % 2 == 1  # upstream shows the second one first
        better = 1 if first_is_better != swapped else 2
        found = {
            "id": kind,
            "query": f"What is {place}?",
            "response": answers,
            "image": picture(place),
            "models": ["a", "b"],
            "human_ranking": [0, 1] if first_is_better else [1, 0],
        }
        return found, str(better), str(3 - better)

    made = [doc(place, place % 4 < 2) for place in range(8)]
    forms = ("{}", "Answer {}", "Answer {} is better.", "Answer {} is the better one", "{}.")
    cases = [
        Case(found, forms[i % 5].format(good), forms[i % 5].format(bad), ("What is", "It is red.", "It is green"))
        for i, (found, good, bad) in enumerate(made)
    ]
    return Made(cases, "Explain your reasoning")


def vstar() -> Made:
    def doc(place: int, letter: str) -> dict[str, Any]:
        listed = "".join(f"\n({one}) {text}" for one, text in zip("ABCD", WORDS, strict=True))
        category = ("direct_attributes", "relative_position")[place % 2]
        return {
            "image": picture(place),
            "text": f"What is {place}?{listed}\n{LETTER}.",
            "label": letter,
            "category": category,
            "question_id": place,
        }

    return Made(choices(doc), LETTER)


def refl4() -> Made:
    def doc(place: int, box: list[float]) -> dict[str, Any]:
        return {
            "id": str(place),
            "caption": f"the thing {place}",
            "bbox": box,
            "bbox_area": 1.0,
            "bbox_id": place,
            "width": 640,
            "ori_category_id": "o365_1",
            "image_id": place,
            "height": 480,
            "file_name": "x.jpg",
            "is_rewrite": False,
            "split": "val",
            "image": picture(place),
        }

    boxes = [
        [64.0, 48.0, 128.0, 96.0],
        [0.0, 0.0, 320.0, 240.0],
        [320.0, 240.0, 320.0, 240.0],
        [6.4, 4.8, 64.0, 48.0],
        [128.0, 96.0, 64.0, 48.0],
    ]
    right = [
        "[100, 100, 300, 300]",
        "[0, 0, 500, 500]",
        "(500, 500, 1000, 1000)",
        "[10, 10, 110, 110]",
        "The box is [200, 200, 300, 300]",
    ]
    wrong = ["[700, 700, 900, 900]", "[500, 500, 1000, 1000]", "(0, 0, 500, 500)", "[64, 48, 192, 144]", "somewhere"]
    return Made([Case(doc(i, boxes[i]), right[i], wrong[i], (f"the thing {i}", "0 to 1000")) for i in range(5)])


BLANK = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"></svg>'


def unisvg() -> Made:
    shapes = [
        '<rect width="4" height="6" fill="red"/>',
        '<circle cx="5" cy="5" r="3" fill="#00f"/>',
        '<path d="M1 1 L9 9 L1 9 Z" fill="green"/>',
        '<ellipse cx="5" cy="5" rx="4" ry="2"/>',
        '<g><rect x="2" y="2" width="3" height="3"/></g>',
    ]
    golds = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10">{shape}</svg>' for shape in shapes]
    docs = [{"svg": gold, "image": picture(i)} if i % 2 else {"svg": gold} for i, gold in enumerate(golds)]
    return Made([Case(doc, gold, BLANK, ("SVG",)) for doc, gold in zip(docs, golds, strict=True)])


def design2code() -> Made:
    golds = [
        f"<!DOCTYPE html>\n<html><head><title>Page {i}</title><style>p {{color: {colour}}}</style></head>"
        f"<body><h1>Shop {i}</h1><p>We sell {colour} chairs, tables and lamps.</p></body></html>"
        for i, colour in enumerate(COLOURS)
    ]
    docs = [{"image": picture(i), "text": gold} for i, gold in enumerate(golds)]
    return Made([Case(doc, gold, "A page of a shop", ("HTML",)) for doc, gold in zip(docs, golds, strict=True)])


def made() -> dict[str, Made]:
    """Return the documents by the name of the benchmark."""
    chinese = "请直接使用所提供的选项字母作为答案回答"
    return {
        "mmstar": mmstar(),
        "mmbench_en": mmbench(LETTER),
        "mmbench_cn": mmbench(chinese),
        "mmerealworld_en": mmerealworld("Respond with only the letter"),
        "mmerealworld_cn": mmerealworld("只需回答正确选项的字母"),
        "seedbench_image": seedbench(),
        "cvbench": cv_bench(),
        "seedbench_2_plus": seedbench_2_plus(),
        "realworldqa": realworldqa(),
        "mathvista": mathvista(),
        "wemath": wemath(),
        "mathvision": mathvision(),
        "mmmu": mmmu(),
        "mmmu_pro_standard": mmmu_pro("standard"),
        "mmmu_pro_vision": mmmu_pro("vision"),
        "chartqa": chartqa(),
        "charxiv_dq": charxiv(),
        "docvqa": read_documents(),
        "infovqa": read_documents(),
        "ocrbench": ocrbench(),
        "ai2d": ai2d(),
        "ai2d_no_mask": ai2d(),
        "sat": sat(),
        "pixmocount": pixmo_count(),
        "countbench": countbench(),
        "vl_rewardbench": vl_rewardbench(),
        "vstar": vstar(),
        "refl4": refl4(),
        "refl4_test": refl4(),
        "unisvg": unisvg(),
        "design2code": design2code(),
    }
