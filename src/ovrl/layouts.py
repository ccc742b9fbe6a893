"""The row layouts of other trainers: how each is recognised by its columns, read and written.

    canonical   problem, answer, and answer_type or another column of the contract
    easyr1      problem, answer, images
    verl        prompt (messages), reward_model.ground_truth, images, data_source, ability, extra_info
    trl         prompt (messages whose content is a list of parts), images or image, a column with the gold
    ms-swift    messages with `<image>` in the text, images, a column with the gold or a last assistant turn
    vlm-r1      conversations (human, then gpt with the gold), image

Reading gives an object of the contract (`codec` makes the sample of it); columns that a layout does not know
pass through. Writing puts what a layout has no column for into one, `ovrl`, as JSON, so that the way back is exact.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ovrl import codec
from ovrl.errors import RecordError, UsageError
from ovrl.records import IMAGE_MARK, Sample

Row = Mapping[str, Any]

Reader = Callable[[Row], Sequence[Row]]
"""Turns a raw row into objects of the contract: one, none when the row is not part of the set, or several."""

_OWN = frozenset({"answer_type", "problem_type", "prompt_type", "format_guidance", "meta"})
_GOLD_COLUMNS = ("answer", "ground_truth", "gold", "solution")
_ANSWER_TAG = re.compile(r"<answer>(.*)</answer>", re.DOTALL)
_PLACEHOLDERS = ("<ref-object>", "<bbox>", "<video>", "<audio>")
_ASIDE = "ovrl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One way to lay a sample out in a row."""

    name: str
    needs: frozenset[str]
    """Columns that every row has."""
    some_of: frozenset[str] = frozenset()
    """Columns of which at least one is there."""
    lacks: frozenset[str] = frozenset()
    """Columns that would make it another layout."""
    kept_in: Literal["parquet", "folder"] = "parquet"
    """Parquet with the images inside, or JSON lines beside a folder of image files."""
    read: Callable[[Row], Row]
    write: Callable[[Sample, Sequence[Any]], dict[str, Any]]
    """Makes the row of a sample and of its images, in the form in which the row holds them."""

    def fits(self, columns: frozenset[str]) -> bool:
        """Whether rows with these columns may be of this layout."""
        some = not self.some_of or bool(self.some_of & columns)
        return self.needs <= columns and some and not self.lacks & columns

    def reader(self, row: Row) -> Sequence[Row]:
        """Return the row's one object of the contract; see `Reader`."""
        return [self.read(row)]


def recognise(columns: frozenset[str], name: str) -> Layout | None:
    """Return the layout of rows with these columns, or None when no layout fits.

    Raises:
        UsageError: several layouts fit; names them, and the flag that chooses.
    """
    fitting = [layout for layout in LAYOUTS.values() if layout.fits(columns)]
    if len(fitting) > 1:
        found = ", ".join(f"{layout.name} ({', '.join(sorted(layout.needs))})" for layout in fitting)
        raise UsageError(
            f"{name}: its columns fit several layouts: {found}; say which one it is: "
            f"ovrl data convert --from {fitting[0].name} {name} -o OUT"
        )
    return fitting[0] if fitting else None


def refuse_unknown(columns: frozenset[str], name: str) -> None:
    """Refuse a file none of whose first rows fits a layout, unless they are samples that lack something.

    Raises:
        UsageError: naming the columns, the known layouts and the way out.
    """
    if columns and "problem" not in columns:
        raise UsageError(
            f"{name}: no known layout has the columns {', '.join(sorted(columns))}; known: {', '.join(LAYOUTS)}; a raw "
            f"data set is converted with its source: ovrl data convert --from virl39k {name} -o OUT"
        )


def _read_easyr1(row: Row) -> Row:
    gold = row.get("answer")
    used = {"answer": None if gold is None else _golds(gold, "answer"), "images": _images(row)}
    return _finished(row, used, "images", "image", "videos")


def _read_verl(row: Row) -> Row:
    info = row.get("extra_info")
    info = dict(info) if isinstance(info, Mapping) else {}
    problem, inline, system = _conversation(row.get("prompt"), "prompt")
    bare = info.get("question")  # the problem without the instruction that verl's scripts add to it
    if isinstance(bare, str) and bare and bare in problem and bare.count(IMAGE_MARK) == problem.count(IMAGE_MARK):
        problem = info.pop("question")
    model = row.get("reward_model")
    gold = model.get("ground_truth") if isinstance(model, Mapping) else None
    used = {"problem": problem, "answer": _golds(gold, "reward_model.ground_truth"), "images": _images(row) or inline}
    used |= {"source": row.get("data_source"), "problem_type": row.get("ability"), "system": system}
    if isinstance(info.get("id"), str | int):
        used["id"] = info.pop("id")
    aside = info.pop(_ASIDE, None)
    rest = {name: value for name, value in info.items() if value is not None}
    consumed = ("prompt", "reward_model", "images", "data_source", "ability", "extra_info", "videos", "image")
    return _finished({**row, _ASIDE: aside}, used | ({"extra_info": rest} if rest else {}), *consumed)


def _read_trl(row: Row) -> Row:
    problem, inline, system = _conversation(row.get("prompt"), "prompt")
    column, gold = _gold_column(row)
    images = _images(row) or inline
    used = {"problem": _with_marks(problem, images), "answer": _golds(gold, column), "images": images, "system": system}
    return _finished(row, used, "prompt", "images", "image", "videos", column)


def _read_swift(row: Row) -> Row:
    turns = row.get("messages")
    reply = None
    if isinstance(turns, Sequence) and turns and _role(turns[-1]) == "assistant":
        *turns, last = turns
        reply = last.get("content")
    problem, inline, system = _conversation(turns, "messages")
    if placeholder := next((one for one in _PLACEHOLDERS if one in problem), None):
        raise RecordError("messages", f"{placeholder} is not supported; write what it stands for into the text")
    column, gold = _gold_column(row) if reply is None or set(row) & set(_GOLD_COLUMNS) else ("messages", reply)
    images = _images(row) or inline
    used = {"problem": _with_marks(problem, images), "answer": _golds(gold, column), "images": images, "system": system}
    return _finished(row, used, "messages", "images", "image", "videos", "audios", column)


_METHODS = {"multiple-choice": "mcq", "boolean": "yes_no", "math-expressions": "math"}


def _read_vlm_r1(row: Row) -> Row:
    turns = row.get("conversations")
    if not isinstance(turns, Sequence) or [_role(turn) for turn in turns] != ["user", "assistant"]:
        raise RecordError("conversations", "a human turn and a gpt turn are expected")
    images = _images(row)
    problem = _text(turns[0].get("value"), [], "conversations")
    method = row.get("accu_reward_method")
    answer_type = next((kind for kind, name in _METHODS.items() if name == method), None)
    used = {"problem": _with_marks(problem, images), "answer": _golds(turns[1].get("value"), "conversations")}
    return _finished(
        row,
        used | {"images": images, "answer_type": answer_type},
        *("conversations", "image", "images", "accu_reward_method"),
    )


def _finished(row: Row, used: Row, *consumed: str) -> Row:
    """Return the object of the contract: what was read, what stood aside, and every other column."""
    if row.get("videos") or row.get("audios"):
        raise RecordError("videos", "video and audio are not supported")
    rest = {name: value for name, value in row.items() if name not in {*consumed, _ASIDE, *used}}
    object_ = {name: value for name, value in {**rest, **used}.items() if value is not None}
    aside = row.get(_ASIDE)
    if aside is None:
        return object_
    try:
        kept = dict(json.loads(aside) if isinstance(aside, str) else aside)
    except (ValueError, TypeError) as error:
        raise RecordError(_ASIDE, "a JSON object is expected") from error
    golds = kept.pop("answer", None) or []
    extra = kept.pop("extra", {})
    if golds[:1] == object_.get("answer"):  # the row's own answer may have been changed since
        object_["answer"] = golds
    return {**object_, **kept, **extra}


def _conversation(turns: Any, field: str) -> tuple[str, list[Any], str | None]:
    """Return the text of the one user turn, images that stand in it, and what the system says."""
    if isinstance(turns, str):
        return turns, [], None
    if not isinstance(turns, Sequence):
        raise RecordError(field, "a list of messages is expected")
    roles = [_role(turn) for turn in turns]
    if roles not in (["user"], ["system", "user"]):
        raise RecordError(field, f"one user turn is expected, not {', '.join(map(str, roles)) or 'none'}")
    inline: list[Any] = []
    texts = [_text(turn.get("content"), inline, field) for turn in turns]
    return texts[-1], inline, texts[0] if len(texts) == 2 else None


def _role(turn: Any) -> str | None:
    if not isinstance(turn, Mapping):
        return None
    return {"human": "user", "gpt": "assistant"}.get(turn.get("from", ""), turn.get("role", turn.get("from")))


def _text(content: Any, inline: list[Any], field: str) -> str:
    """Return a message's text with a mark for each image; images that stand in it go to `inline`."""
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        raise RecordError(field, "the content of a message is text, or a list of parts")
    parts: list[str] = []
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "text":
            parts.append(str(part.get("text") or ""))
        elif kind in ("image", "image_url"):
            parts.append(IMAGE_MARK)
            image = part.get("image") or part.get("image_url")
            inline += [] if image is None else [image.get("url", image) if isinstance(image, Mapping) else image]
        else:
            raise RecordError(field, f"a part of type {kind!r} is not supported")
    return "".join(parts)


def _with_marks(problem: str, images: Sequence[Any]) -> str:
    """Return the problem with a mark for each image; trainers that need none in the text put images first."""
    return problem if IMAGE_MARK in problem or not images else IMAGE_MARK * len(images) + "\n" + problem


def _images(row: Row) -> list[Any]:
    given = row.get("images") or row.get("image")
    if not given:
        return []
    listed: list[Any] = list(given) if isinstance(given, list | tuple) else [given]
    plain = [image["image"] if isinstance(image, Mapping) and image.get("image") else image for image in listed]
    return [{"bytes": image} if isinstance(image, bytes) else image for image in plain]


def _gold_column(row: Row) -> tuple[str, Any]:
    for name in _GOLD_COLUMNS:
        if row.get(name) is not None:
            return name, row[name]
    raise RecordError("answer", f"no gold answer; known columns: {', '.join(_GOLD_COLUMNS)}")


def _golds(gold: Any, field: str) -> list[str]:
    """Return the gold answers as texts, without the tags that some sets write around them."""
    listed: list[Any] = list(gold) if isinstance(gold, list | tuple) else [gold]
    if any(not isinstance(one, str | int | float) for one in listed):
        raise RecordError(field, "a text, a number or a list of them is expected as the gold answer")
    return [_untagged(one) if isinstance(one, str) else str(one) for one in listed]


def _untagged(gold: str) -> str:
    match = _ANSWER_TAG.search(gold)
    return match[1].strip() if match else gold


def _aside(sample: Sample) -> str:
    """Return as JSON what no layout but ours has a column for."""
    fields = codec.encode_sample(sample)
    kept = {name: value for name, value in fields.items() if name not in {"problem", "images", *sample.extra}}
    return json.dumps(kept | {"extra": codec.jsonable(sample.extra)}, ensure_ascii=False)


def _write_canonical(sample: Sample, images: Sequence[Any]) -> dict[str, Any]:
    return codec.encode_sample(sample) | {"images": list(images)}


def _write_easyr1(sample: Sample, images: Sequence[Any]) -> dict[str, Any]:
    question = sample.question
    return {
        "images": list(images),
        "problem": question.problem,
        "answer": question.answer[0],
        _ASIDE: _aside(sample),
    }


def _write_verl(sample: Sample, images: Sequence[Any]) -> dict[str, Any]:
    question = sample.question
    return {
        "images": list(images),
        "data_source": question.source or "ovrl",
        "prompt": [{"role": "user", "content": question.problem}],
        "ability": question.problem_type,
        "reward_model": {"style": "rule", "ground_truth": question.answer[0]},
        "extra_info": {"id": sample.id, "question": question.problem, _ASIDE: _aside(sample)},
    }


def _write_trl(sample: Sample, images: Sequence[Any]) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    for number, text in enumerate(sample.question.problem.split(IMAGE_MARK)):
        parts += [{"type": "image", "text": None}] if number else []
        parts += [{"type": "text", "text": text}] if text else []
    return {
        "images": list(images),
        "prompt": [{"role": "user", "content": parts}],
        "solution": sample.question.answer[0],
        "answer_type": sample.question.answer_type,
        _ASIDE: _aside(sample),
    }


def _write_swift(sample: Sample, images: Sequence[Any]) -> dict[str, Any]:
    question = sample.question
    return {
        "messages": [{"role": "user", "content": question.problem}],
        **({"images": list(images)} if images else {}),
        "solution": question.answer[0],
        "answer_type": question.answer_type,
        _ASIDE: _aside(sample),
    }


def _write_vlm_r1(sample: Sample, images: Sequence[Any]) -> dict[str, Any]:
    question = sample.question
    turns = (("human", question.problem), ("gpt", question.answer[0]))
    return {
        "id": sample.id,
        **({"image": list(images)} if images else {}),
        "conversations": [{"from": speaker, "value": text} for speaker, text in turns],
        "accu_reward_method": _METHODS.get(question.answer_type, "default"),
        _ASIDE: _aside(sample),
    }


_PAIR = frozenset({"problem", "answer"})

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(name="canonical", needs=_PAIR, some_of=_OWN, read=lambda row: row, write=_write_canonical),
        Layout(name="easyr1", needs=_PAIR, lacks=_OWN, read=_read_easyr1, write=_write_easyr1),
        Layout(name="verl", needs=frozenset({"prompt", "reward_model"}), read=_read_verl, write=_write_verl),
        Layout(
            name="trl",
            needs=frozenset({"prompt"}),
            lacks=frozenset({"reward_model"}),
            read=_read_trl,
            write=_write_trl,
        ),
        Layout(name="ms-swift", needs=frozenset({"messages"}), kept_in="folder", read=_read_swift, write=_write_swift),
        Layout(
            name="vlm-r1",
            needs=frozenset({"conversations"}),
            kept_in="folder",
            read=_read_vlm_r1,
            write=_write_vlm_r1,
        ),
    )
}
