"""A model without its weights: its tokenizer, its image processor, its configuration.

Who samples elsewhere needs no more than this to say what is sent, and what may come back.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError
from transformers import AutoConfig, BatchFeature, GenerationConfig, PreTrainedConfig, ProcessorMixin

from ovrl.errors import UsageError
from ovrl.rollout import models
from ovrl.rollout.prompt import Prompt


class PromptProcessor:
    """Turns prompts into tokens, and knows which tokens end a reply and which may not stand in it."""

    def __init__(
        self, processor: ProcessorMixin, config: PreTrainedConfig, generation: GenerationConfig, name: str
    ) -> None:
        self.processor = processor
        self.config = config
        self.name = name
        tokenizer: Any = cast(Any, processor).tokenizer
        self.tokenizer = tokenizer
        eos: Any = generation.eos_token_id
        if eos is None:
            eos = tokenizer.eos_token_id
        self.eos_ids: frozenset[int] = frozenset([eos] if isinstance(eos, int) else eos)
        self.pad_id: int = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(self.eos_ids)

    @staticmethod
    def load(name: str) -> "PromptProcessor":
        """Return that of a model directory or hub id, without reading the weights.

        Raises:
            UsageError: nothing can be loaded from there.
        """
        with loading(name):
            config = AutoConfig.from_pretrained(name)
            try:
                generation = GenerationConfig.from_pretrained(name)
            except OSError:  # the file is optional
                generation = GenerationConfig.from_model_config(config)
            return PromptProcessor(models.load_processor(name, config), config, generation, name)

    @property
    def context(self) -> int | None:
        """Tokens that the model was built for, prompt and reply together; None if it does not say."""
        return getattr(self.config.get_text_config(), "max_position_embeddings", None)

    @property
    def vocabulary(self) -> int:
        """Words that the model has logits for, padding included."""
        return int(cast(Any, self.config.get_text_config()).vocab_size)

    @property
    def image_id(self) -> int | None:
        """The token that stands for a piece of an image; None for a model that does not say."""
        index = getattr(self.config, "image_token_id", None)
        return index if isinstance(index, int) else None

    def texts(self, prompts: Sequence[Prompt]) -> list[str]:
        """Return each prompt as the chat template writes it, ready for a reply to follow."""
        return [
            cast(Any, self.processor).apply_chat_template(prompt.messages, add_generation_prompt=True, tokenize=False)
            for prompt in prompts
        ]

    def process(self, prompts: Sequence[Prompt]) -> BatchFeature:
        """Return what the model reads, left-padded, image tokens expanded."""
        flat = [image for prompt in prompts for image in prompt.images]
        return cast(Any, self.processor)(
            text=self.texts(prompts),
            **({"images": flat} if flat else {}),
            padding=True,
            padding_side="left",
            return_tensors="pt",
        )

    def banned_ids(self) -> list[int]:
        """Return the tokens that may never be sampled: images, other control tokens, padding; not the stop token.

        One sampled image token would shift the features of every later image.
        """
        special = set(self.tokenizer.all_special_ids) | {
            index for index, token in self.tokenizer.added_tokens_decoder.items() if token.special
        }
        for name in ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"):
            if isinstance(index := getattr(self.config, name, None), int):
                special.add(index)
        # Real vocabularies are padded to a round size; the ids behind the tokenizer's last mean nothing.
        padding = range(len(self.tokenizer), self.vocabulary)
        return sorted((special | set(padding)) - self.eos_ids)


@contextmanager
def loading(name: str) -> Generator[None]:
    """Make usage errors of what goes wrong while a model directory or hub id is read.

    Raises:
        UsageError: it cannot be one, or cannot be read.
    """
    path = Path(name)
    if path.is_dir() and not (path / "config.json").exists():
        raise UsageError(f"{name} holds no model: config.json is missing")
    if not path.is_dir() and (path.is_absolute() or name.startswith(".") or name.count("/") != 1):
        raise UsageError(f"model {name!r}: no such directory, and it does not look like a hub id")
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UsageError(f"model {name!r} cannot be loaded: {reason}") from error
