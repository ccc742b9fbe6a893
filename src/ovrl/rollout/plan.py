"""What `ovrl rollout` still has to ask: requests for the completions that are missing, as engines pull them.

    samples --> prompts --> requests --> [engine] --> heard --> the next portion, unless the verdict is settled

With a jury the completions of a sample are asked for in portions; without one, all at once.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ovrl import choices
from ovrl.errors import RecordError
from ovrl.records import FinishReason, PromptType, Question, Sample, derive_seed
from ovrl.rejects import Rejects
from ovrl.rollout import prompt
from ovrl.rollout.engine import Generation, Refusal, Request
from ovrl.rollout.prompt import Prompt
from ovrl.rollout.settings import RolloutSettings

PORTIONS = 4
"""Parts in which the completions of a sample are asked for when it may stop early; each reads the prompt again."""

Done = Mapping[str, Mapping[int, Any]]
"""Sample id -> number of each completion that there is already -> what the jury made of it."""


class Jury(Protocol):
    """Decides when a sample needs no more completions."""

    def hear(self, question: Question, text: str, finish_reason: FinishReason) -> Any:
        """Take a completion and return at once what `settled` is to be given of it."""
        ...

    def settled(self, question: Question, heard: Sequence[Any], left: int) -> bool:
        """Return whether `left` more completions would not change what becomes of the sample."""
        ...


@dataclass(slots=True)
class _Ask:
    """A sample in one mode, and how far its completions are asked for."""

    sample: Sample
    numbers: range
    """Of its completions."""
    heard: dict[int, Any]
    asked: int = 0
    waiting: set[int] = field(default_factory=set[int])
    """Numbers that are under way."""


@dataclass(slots=True)
class Asked:
    """What a request asks, without its images: a sample's question, its options perhaps in another order."""

    ask: _Ask
    question: Question
    left: int
    """Completions that have not come yet."""
    shuffled: choices.Shuffled | None = None

    @property
    def sample_id(self) -> str:
        """The sample's."""
        return self.ask.sample.id

    def encode(self) -> dict[str, Any]:
        """Return what a completion line says of the order; nothing when it is the sample's own."""
        if self.shuffled is None:
            return {}
        return {"shuffled": {"order": self.shuffled.order, "gold": self.shuffled.gold}}


class Plan:
    """The requests of one rollout, and what is known of those under way."""

    def __init__(
        self,
        samples: Iterable[Sample],
        settings: RolloutSettings,
        *,
        done: Done,
        seed: int,
        rejects: Rejects,
        counts: Counter[str],
        jury: Jury | None = None,
    ) -> None:
        """Begin.

        Args:
            samples: the prompts, read as they are needed.
            settings: how many completions, in which mode.
            done: what an earlier run made.
            seed: completion k of sample s comes from `derive_seed(seed, s, k)`.
            rejects: takes samples whose prompt cannot be built, or not be answered.
            counts: of samples and shuffled ones, and of completions that were `saved`.
            jury: stops samples early; None asks for all completions.
        """
        self._asks = self._in_modes(samples)
        self._settings, self._done, self._seed = settings, done, seed
        self._rejects, self._counts, self._jury = rejects, counts, jury
        self._size = settings.n if jury is None else -(-settings.n // PORTIONS)
        self._ready: deque[_Ask] = deque()
        """Asks whose portion has come."""
        self._asked: dict[str, Asked] = {}
        self._refused = set[str]()

    def requests(self) -> Iterator[Request | None]:
        """Yield what is to be asked; None while what comes next depends on what is under way."""
        exhausted = False
        while not exhausted or self._ready or self._asked:
            ask = self._ready.popleft() if self._ready else next(self._asks, None)
            if ask is not None:
                yield from self._portion(ask)
                continue
            exhausted = True
            if self._jury is None:
                return
            if self._asked:
                yield None

    def heard(self, made: Generation | Refusal) -> Asked | None:
        """Take what came for a request, and return what it had asked; None for a refusal."""
        asked = self._asked[made.request_id]
        ask = asked.ask
        if isinstance(made, Refusal):
            del self._asked[made.request_id]
            if ask.sample.id not in self._refused:
                self._refused.add(ask.sample.id)
                self._counts["samples"] -= 1
                self._rejects.add(RecordError("problem", made.reason), record_id=ask.sample.id)
            return None
        asked.left -= 1
        if not asked.left:
            del self._asked[made.request_id]
        ask.waiting.discard(made.k)
        if self._jury is not None:
            ask.heard[made.k] = self._jury.hear(asked.question, made.text, made.finish_reason)
            if not ask.waiting:
                self._ready.append(ask)
        return asked

    def _in_modes(self, samples: Iterable[Sample]) -> Iterator[_Ask]:
        """Yield the samples in the modes that the settings ask for; with both, the second set is numbered on."""
        n, mode = self._settings.n, self._settings.prompt_type
        modes: tuple[PromptType | None, ...] = ("normal", "thinking") if mode == "both" else (mode,)
        for sample in samples:
            for number, chosen in enumerate(modes):
                shown = sample if chosen is None else sample.with_prompt_type(chosen)
                numbers = range(number * n, (number + 1) * n)
                yield _Ask(shown, numbers, dict(self._done.get(sample.id, {})))

    def _portion(self, ask: _Ask) -> Iterator[Request]:
        """Yield the next requests of a sample; none when it needs no more."""
        begins = not ask.asked
        while ask.asked < len(ask.numbers):
            if ask.asked and self._is_settled(ask):
                self._counts["saved"] += len(ask.numbers) - ask.asked
                break
            first, ask.asked = ask.asked, min(len(ask.numbers), ask.asked + self._size)
            missing = [k for k in ask.numbers[first : ask.asked] if k not in ask.heard]
            if not missing:
                continue
            built = self._built(ask.sample)
            self._count(ask, begins=begins, is_built=built is not None)
            if built is not None:
                ask.waiting.update(missing)
                yield from self._requests(ask, built, missing)
            return
        if begins:
            self._count(ask, begins=True, is_built=True)

    def _is_settled(self, ask: _Ask) -> bool:
        if self._jury is None:
            return False
        known = [ask.heard[k] for k in ask.numbers[: ask.asked]]
        return self._jury.settled(ask.sample.question, known, len(ask.numbers) - ask.asked)

    def _count(self, ask: _Ask, *, begins: bool, is_built: bool) -> None:
        """Count a sample when its first requests are made, or when there is nothing left to ask."""
        if begins and ask.numbers.start == 0:
            self._counts["samples"] += is_built
            if self._settings.shuffle_options and ask.sample.question.answer_type == "multiple-choice":
                possible = choices.shuffle(ask.sample.question, 0) is not None
                self._counts["shuffled" if possible else "unshuffled"] += 1

    def _built(self, sample: Sample) -> Prompt | None:
        try:
            return prompt.build(sample, max_pixels=self._settings.max_pixels)
        except RecordError as error:
            self._rejects.add(error, record_id=sample.id)
            return None

    def _requests(self, ask: _Ask, built: Prompt, numbers: Sequence[int]) -> Iterator[Request]:
        """Yield one request for all these completions, or one for each when each sees another order."""
        sample, sampling = ask.sample, self._settings.sampling.sampling()
        seeds = {k: derive_seed(self._seed, sample.id, k) for k in numbers}
        question = sample.question
        if (
            not self._settings.shuffle_options
            or question.answer_type != "multiple-choice"
            or choices.shuffle(question, 0) is None
        ):
            name = sample.id if ask.numbers.start == 0 and self._jury is None else f"{sample.id}\x1f{numbers[0]}"
            self._asked[name] = Asked(ask, question, len(seeds))
            yield Request(id=name, prompt=built, seeds=seeds, sampling=sampling)
            return
        requests: list[Request] = []
        for k, seed in seeds.items():
            shuffled = choices.shuffle(question, seed)
            assert shuffled is not None
            shown = Prompt(prompt.messages(replace(sample, question=shuffled.question)), built.images)
            name = f"{sample.id}\x1f{k}"
            self._asked[name] = Asked(ask, shuffled.question, 1, shuffled)
            requests.append(Request(id=name, prompt=shown, seeds={k: seed}, sampling=sampling))
        yield from requests
