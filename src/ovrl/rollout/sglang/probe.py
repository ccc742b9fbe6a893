"""What a server is asked before it is trusted: its version and model, and a prompt with an image there and back.

Everything that a version number does not tell is found by trying it, because servers differ by patches and variables
of their environment that no route shows.
"""

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from ovrl.errors import UsageError
from ovrl.rollout.engine import Sampling
from ovrl.rollout.processor import PromptProcessor
from ovrl.rollout.prompt import SYSTEM, Prompt
from ovrl.rollout.sglang import messages
from ovrl.rollout.sglang.control import Control, PauseMode
from ovrl.rollout.sglang.encoding import EncodedPrompt, encode
from ovrl.rollout.sglang.failures import DistrustedError, LostError, RejectedError
from ovrl.rollout.sglang.messages import Dialect

_OLDEST = (0, 5, 16)
"""The first version with `mm_hashes` and `return_sampling_mask`, without which some of this cannot be had."""

_TOKENS = 4
"""Of a reply to a probe."""

_CLOSE = 1e-4
"""Log-probabilities of the same words in the same context, computed in another batch, differ by less."""


class UntrustedError(UsageError):
    """A server that answers, and that completions cannot be taken from."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What is known of a server that can be trusted."""

    dialect: Dialect
    pause_mode: PauseMode
    label: str
    """Its name for the weights that it has."""
    version: str
    """Of sglang."""


class Probe:
    """Asks servers, each the same. Made once: it encodes its own prompts."""

    def __init__(self, processor: PromptProcessor) -> None:
        """Prepare the prompts.

        Raises:
            UsageError: the model's processor makes prompts that cannot be sent.
        """
        self._processor = processor
        self._stop_ids, self._banned_ids = sorted(processor.eos_ids), processor.banned_ids()
        self._sees = processor.image_id is not None
        self._dark, self._light = self._prompt((40, 40, 60)), self._prompt((250, 220, 200))
        self._id = uuid.uuid4().hex
        self._serial = 0
        self._name = messages.salted(["probe"], self._id)

    async def examine(self, control: Control) -> Findings:
        """Return what a server is like.

        Raises:
            ServerError: it cannot be reached, or is not ready.
            UntrustedError: it can, and must not be used; says why, and what to do.
        """
        await control.ready()
        info = await self._identify(control)
        model = await control.model()
        self._compare_model(control.client.url, model)
        await control.resume()  # whoever used it before may have left it paused
        streams, answer = await self._round_trip(control, bool(info.get("incremental_streaming_output")))
        await self._continues(control)
        await self._bans(control, answer["output_ids"][0])
        original = await self._returns_original_logprobs(control)
        cached = self._sees and await self._caches_images(control)
        spans = "weight_versions" in answer["meta_info"]
        # A request that is read again after an update would find its images in that cache as old weights saw them.
        # Without spans a request must not live longer than the weights that it was sent to.
        mode: PauseMode = "retract" if spans and not cached else "abort"
        dialect = Dialect(streams=streams, original_logprobs=original, vision_cache=cached)
        return Findings(dialect, mode, str(model.get("weight_version") or ""), str(info["version"]))

    def _prompt(self, colour: tuple[int, int, int]) -> EncodedPrompt:
        content: list[dict[str, str]] = [{"type": "text", "text": "What is this?"}]
        images: tuple[Image.Image, ...] = ()
        if self._sees:
            content.insert(0, {"type": "image"})
            images = (Image.new("RGB", (56, 84), colour),)
        turns = [
            {"role": "system", "content": [{"type": "text", "text": SYSTEM}]},
            {"role": "user", "content": content},
        ]
        encoded = encode(self._processor, Prompt(turns, images))
        if isinstance(encoded, str):
            raise UsageError(f"model {self._processor.name!r} cannot be sampled by SGLang: {encoded}")
        return encoded

    async def _identify(self, control: Control) -> Mapping[str, Any]:
        """Return what the server says of itself, if it is SGLang, and new enough."""
        url = control.client.url
        try:
            info = await control.server()
        except RejectedError as error:
            if error.status in (401, 403):
                raise UntrustedError(
                    f"{error}; give its keys in OVRL_ROLLOUT__ENGINE__API_KEY and OVRL_ROLLOUT__ENGINE__ADMIN_KEY"
                ) from error
            raise UntrustedError(
                f"{url} is no SGLang server (/server_info: {error.status}), nor smg with --enable-rl. Other routers"
                " hide which weights servers have, and sglang-router drops fields: give the servers' own URLs"
            ) from error
        version = str(info.get("version", ""))
        number = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
        if not number or number < _OLDEST:
            oldest = ".".join(map(str, _OLDEST))
            raise UntrustedError(f"{url} runs sglang {version or 'without a version'}; install {oldest} or later")
        return info

    def _compare_model(self, url: str, model: Mapping[str, Any]) -> None:
        config: Any = self._processor.config
        theirs, ours = model.get("model_type"), config.model_type
        if theirs is not None and theirs != ours:
            raise UntrustedError(
                f"{url} serves a model of type {theirs!r}, and not {ours!r}: start it with --model's directory"
            )
        if model.get("is_generation") is False:
            raise UntrustedError(f"{url} serves a model that does not generate")
        if self._sees and model.get("has_image_understanding") is False:
            raise UntrustedError(f"{url} serves the model without its eyes: start it with --enable-multimodal")

    def _body(self, prompt: EncodedPrompt, done: Sequence[int] = (), *, temperature: float = 0.0) -> dict[str, Any]:
        self._serial += 1
        return messages.body(
            prompt,
            done,
            rid=f"ovrl-probe-{self._id}-{self._serial}",
            sampling=Sampling(temperature=temperature),
            limit=len(done) + _TOKENS,
            seed=0,
            stop_ids=self._stop_ids,
            banned_ids=self._banned_ids,
            dialect=Dialect(streams=False),
            weights="",
        )

    async def _ask(self, control: Control, body: dict[str, Any]) -> Any:
        url = control.client.url
        try:
            answer = await control.generate(body)
        except RejectedError as error:
            raise UntrustedError(f"{error}; is this the model of --model, with its tokenizer?") from error
        except LostError as error:
            if error.kind != "timeout":
                raise
            raise UntrustedError(
                f"{url} does not answer a prompt of {len(body['input_ids'])} tokens within "
                f"{control.limits.control_s:g} s: look into its log, and restart it"
            ) from error
        try:
            messages.segment(answer, Sampling(temperature=1.0), Dialect())
        except DistrustedError as error:
            raise UntrustedError(f"{url}: {error}") from error
        return answer

    async def _round_trip(self, control: Control, incremental: bool) -> tuple[bool, Any]:
        """Return whether replies can be streamed in parts, and an answer with the prompt that was counted."""
        body = self._body(self._dark)
        parameters: dict[str, Any] = body["sampling_params"]
        parameters["stream_interval"] = _TOKENS
        streams = not incremental
        try:
            answer = await self._ask(control, body)
        except UntrustedError as error:
            if "stream_interval" not in str(error):
                raise
            streams = False
            del parameters["stream_interval"]
            answer = await self._ask(control, body | {"rid": f"{body['rid']}-again"})
        counted, ours = answer["meta_info"].get("prompt_tokens"), self._dark.prompt_tokens
        if counted != ours:
            raise UntrustedError(
                f"{control.client.url} counts {counted} tokens in a prompt with an image, and our processor {ours}:"
                " start it with the same model directory, and the same image limits"
            )
        return streams, answer

    async def _continues(self, control: Control) -> None:
        """Raise if a reply that is continued is read as other tokens than were sampled."""
        done = self._in_letters()
        answer = await self._ask(control, self._body(self._dark, done))
        counted, ours = answer["meta_info"].get("prompt_tokens"), self._dark.prompt_tokens + len(done)
        if counted != ours:
            raise UntrustedError(
                f"{control.client.url} tokenizes what was sampled again: it counts {counted} tokens in a prompt with a"
                f" begun reply, and not {ours}; SGLANG_MM_AVOID_RETOKENIZE=1 and the processor class of the released"
                " model keep it from that"
            )

    async def _bans(self, control: Control, likeliest: int) -> None:
        """Raise if a word that may not be drawn is drawn all the same: one image token too many spoils a reply."""
        body = self._body(self._dark)
        body["sampling_params"]["logit_bias"] |= {str(likeliest): messages.BAN}
        if (await self._ask(control, body))["output_ids"][0] == likeliest:
            raise UntrustedError(
                f"{control.client.url} does not obey logit_bias. The smg gateway (1.13) drops it on the way: give the"
                " servers' own URLs"
            )

    def _in_letters(self) -> list[int]:
        """Return a reply as a policy may sample it and no tokenizer would write it: a word in letters."""
        tokenizer = self._processor.tokenizer
        words = [word for word in tokenizer.get_vocab() if word.isascii() and word.isalpha() and len(word) > 1]
        word = min(words, default="", key=lambda word: (-len(word), word))
        return [index for letter in word for index in tokenizer(letter, add_special_tokens=False)["input_ids"]]

    async def _returns_original_logprobs(self, control: Control) -> bool:
        """Whether temperature leaves the log-probability of the likeliest word as it is."""
        values: list[float] = []
        for temperature in (0.0, 0.5):
            body = self._body(self._dark, temperature=temperature) | {"top_logprobs_num": 1}
            answer = await self._ask(control, body)
            try:
                values.append(float(answer["meta_info"]["output_top_logprobs"][0][0][0]))
            except (KeyError, IndexError, TypeError) as error:
                raise UntrustedError(f"{control.client.url} returns no output_top_logprobs") from error
        return abs(values[0] - values[1]) < _CLOSE and values[0] < -_CLOSE

    async def _caches_images(self, control: Control) -> bool:
        """Whether a second image under the name of a first one is seen as the first, or nothing tells that it is not.

        The two requests share no prefix (`extra_key`), so that only a cache of the images themselves can mix them up.
        """
        answers = [
            await self._ask(control, self._body(prompt) | {"extra_key": f"ovrl-{name}", "mm_hashes": self._name})
            for name, prompt in (("first", self._dark), ("second", self._light))
        ]
        return _distance(*answers) < _CLOSE


def _distance(one: Any, other: Any) -> float:
    """Return how far two answers are apart: infinitely, if their tokens differ."""
    if one["output_ids"] != other["output_ids"]:
        return float("inf")
    pairs = zip(one["meta_info"]["output_token_logprobs"], other["meta_info"]["output_token_logprobs"], strict=True)
    return max((abs(a[0] - b[0]) for a, b in pairs), default=0.0)
