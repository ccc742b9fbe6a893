"""The model that lmms-eval asks: any engine of ovrl, in this process or behind a server."""

# pyright: basic, reportMissingImports=false
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lmms_eval.api.instance import GenerationResult, TokenCounts
from lmms_eval.api.model import lmms

from ovrl import images
from ovrl.plugins import resolve
from ovrl.records import derive_seed
from ovrl.rollout.engine import Engine, Refusal, Request, Sampling
from ovrl.rollout.prompt import SYSTEM, Prompt
from ovrl.rollout.settings import EngineSettings
from ovrl.rollout.table import ENGINES

REFUSED = "refused"
"""Finish reason of a document that the engine could not answer."""


class OvrlModel(lmms):
    """Answers all documents of a task in one go, so that they fill the engine's batch.

    An engine that fails raises: an empty answer would be taken for a wrong one.
    """

    is_simple = False

    def __init__(self, settings: str, **given: Any) -> None:
        """Load the engine.

        Args:
            settings: JSON file with `model`, `engine` (EngineSettings), `max_pixels`, `seed` and `log`, the file that
                takes a line for each answered document: `task`, `doc_id`, `finish_reason`, `tokens`.
            given: what lmms-eval adds by itself; not used.
        """
        super().__init__()
        del given
        told = json.loads(Path(settings).read_text(encoding="utf-8"))
        chosen = EngineSettings(**told["engine"])
        self._engine: Engine = resolve(chosen.engine, ENGINES, "engine")(told["model"], chosen)
        self._max_pixels, self._seed = int(told["max_pixels"]), int(told["seed"])
        self._log = Path(told["log"])

    def generate_until(self, requests: Sequence[Any]) -> list[GenerationResult]:
        """Return the reply to each request, in their order."""
        replies: dict[int, GenerationResult] = {}
        with self._log.open("a", encoding="utf-8", buffering=1) as log:
            for made in self._engine.generate(self._asked(requests)):
                place = int(made.request_id)
                _, _, _, doc_id, task, _ = requests[place].args
                refused = isinstance(made, Refusal)
                tokens = 0 if refused else len(made.token_ids)
                replies[place] = GenerationResult(
                    text="" if refused else made.text, token_counts=TokenCounts(output_tokens=tokens)
                )
                line = {"task": task, "doc_id": doc_id, "tokens": tokens}
                line |= (
                    {"finish_reason": REFUSED, "reason": made.reason}
                    if refused
                    else {"finish_reason": made.finish_reason}
                )
                log.write(json.dumps(line) + "\n")
        return [replies[place] for place in range(len(requests))]

    def _asked(self, requests: Sequence[Any]) -> Iterator[Request]:
        for place, request in enumerate(requests):
            _, doc_to_messages, options, doc_id, task, split = request.args
            messages = doc_to_messages(self.task_dict[task][split][doc_id])
            yield Request(
                id=str(place),
                prompt=self._prompt(messages),
                seeds={0: derive_seed(self._seed, task, doc_id)},
                sampling=_sampling(options),
            )

    def _prompt(self, messages: Sequence[Mapping[str, Any]]) -> Prompt:
        """Return the messages as the engine takes them, with the system message of training where there is none."""
        pictures: list[Any] = []
        turns: list[dict[str, Any]] = []
        for message in messages:
            content: list[dict[str, str]] = []
            for part in message["content"]:
                if part["type"] == "text":
                    content.append({"type": "text", "text": part["text"]})
                elif part["type"] == "image":
                    content.append({"type": "image"})
                    pictures.append(images.normalized(part["url"], max_pixels=self._max_pixels))
                else:
                    raise ValueError(f"a document with {part['type']}: ovrl's engines read text and images")
            turns.append({"role": message["role"], "content": content})
        if turns[0]["role"] != "system":
            turns.insert(0, {"role": "system", "content": [{"type": "text", "text": SYSTEM}]})
        return Prompt(turns, tuple(pictures))

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Refuse: a task that compares the likelihood of its options does not look at what the model answers."""
        raise ValueError(f"{requests[0].task_name} asks for likelihoods; ovrl evaluates what the model says")

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Refuse: ovrl trains and evaluates answers in one turn."""
        raise ValueError(f"{requests[0].task_name} is a conversation of several rounds; ovrl evaluates single answers")


def _sampling(options: Mapping[str, Any]) -> Sampling:
    """Return the task's generation options; without `do_sample` the likeliest token is taken."""
    sampled = bool(options.get("do_sample")) and (options.get("temperature") or 0) > 0
    return Sampling(
        temperature=float(options["temperature"]) if sampled else 0.0,
        top_p=float(options.get("top_p") or 1.0) if sampled else 1.0,
        max_new_tokens=int(options.get("max_new_tokens", 1024)),
        stop=tuple(text for text in options.get("until") or () if text),
    )
