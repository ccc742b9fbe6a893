"""Make a tiny vision-language model, offline and from a seed: the model of `ovrl demo` and of tests.

It is a Qwen2.5-VL (or a LLaVA-OneVision-1.5) of half a million parameters with random weights, a tokenizer of its
own and an image processor, written as a Hugging Face directory that the Auto classes load like any other.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    PaddleOCRVLProcessor,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
)

from ovrl.rollout.models.llava_onevision1_5.configuration import LlavaOnevision15Config
from ovrl.rollout.models.llava_onevision1_5.model import LLaVAOneVision1_5_ForConditionalGeneration
from ovrl.rollout.models.llava_onevision1_5.processor import LlavaOnevision15Processor
from ovrl.rollout.prompt import INSTRUCTIONS, SPATIAL, SYSTEM

Family = Literal["qwen2_5_vl", "llavaonevision1_5"]
"""Names as in `model_type`."""

PATCH = 12
"""Pixels along one side of a patch; 2 x 2 patches become one token."""

_PAD, _TURN, _END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
_IMAGE = "<|image_pad|>"
_ROLES = ("system", "user", "assistant")
_SPECIAL = (_PAD, _TURN, _END, "<|vision_start|>", "<|vision_end|>", _IMAGE, "<|video_pad|>")

# One token each: sentences that stand in every prompt would be half of its length otherwise, and the tags
# would be six tokens of every reply. They are not special, so that decoding keeps them.
_FIXED = ("<think>", "</think>", "<answer>", "</answer>", SYSTEM, *INSTRUCTIONS.values(), SPATIAL)

# Digits stand alone, so that numbers compose; a word takes the space before it; signs cling together.
_PIECES = Regex(r"\p{N}| ?\p{L}+|\n|[^\p{L}\p{N}\n]+")

_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_tiny(
    path: Path,
    *,
    seed: int,
    texts: Iterable[str] = (),
    phrases: Iterable[str] = (),
    family: Family = "qwen2_5_vl",
) -> None:
    """Write a tiny model with random weights to `path`, as a Hugging Face directory.

    `AutoModelForImageTextToText` and `AutoProcessor` load it, without torchvision; and without ovrl, if transformers
    knows the family.

    Args:
        path: made if absent.
        seed: of the weights; the tokenizer depends on `texts` and `phrases` alone.
        texts: what the tokenizer learns its words from (problems, answers). Any text can be encoded
            without them; with them, words are one token instead of several.
        phrases: strings that become one token each, wherever they stand.
        family: what kind of model.
    """
    tokenizer = _tokenizer(texts, phrases)
    # The modeling code draws from the global generator: seed it inside a fork, and leave it untouched.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _model(tokenizer, family)
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(path)
    _processor(tokenizer, family).save_pretrained(path)


def _tokenizer(texts: Iterable[str], phrases: Iterable[str]) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE with the special tokens of the Qwen family."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_PIECES, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=768,
        min_frequency=2,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),  # every byte: any text has an encoding
        show_progress=False,
    )
    tokenizer.train_from_iterator([*_ROLES * trainer.min_frequency, *texts], trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in _SPECIAL])
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in (*_FIXED, *phrases)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=_END,
        pad_token=_PAD,
        padding_side="left",
        model_max_length=1024,
        extra_special_tokens={"image_token": _IMAGE},  # the processor reads `tokenizer.image_token`
    )


def _model(tokenizer: PreTrainedTokenizerFast, family: Family) -> PreTrainedModel:
    def token(text: str) -> int:
        number = tokenizer.convert_tokens_to_ids(text)
        assert isinstance(number, int)
        return number

    hidden, heads = 96, 4
    text_config: dict[str, Any] = {
        "vocab_size": len(tokenizer) + -len(tokenizer) % 8,
        "hidden_size": hidden,
        "intermediate_size": 256,
        "num_hidden_layers": 3,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "max_position_embeddings": 1024,
        "rope_parameters": {"rope_type": "default", "rope_theta": 100.0},  # sequences are short
        "initializer_range": 0.06,  # wide, since the layers are narrow: about 0.6 / sqrt(hidden)
        "bos_token_id": None,
        "eos_token_id": token(_END),
        "pad_token_id": token(_PAD),
        "tie_word_embeddings": True,
    }
    vision_config: dict[str, Any] = {
        "depth": 2,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_heads": 4,
        "patch_size": PATCH,
        "spatial_merge_size": 2,
        "temporal_patch_size": 1,  # stills need no pair of frames
        "initializer_range": 0.06,
    }
    tokens: dict[str, Any] = {
        "image_token_id": token(_IMAGE),
        "video_token_id": token("<|video_pad|>"),
        "vision_start_token_id": token("<|vision_start|>"),
        "vision_end_token_id": token("<|vision_end|>"),
    }
    if family == "llavaonevision1_5":
        text_config["head_dim"] = hidden // heads
        vision_config["text_hidden_size"] = hidden
        return LLaVAOneVision1_5_ForConditionalGeneration(
            LlavaOnevision15Config(text_config=text_config, vision_config=vision_config, **tokens)
        )
    # The sections (time, height, width) share the 12 frequencies of a head of 24.
    text_config["rope_parameters"]["mrope_section"] = [4, 4, 4]
    vision_config |= {
        "rope_parameters": {"rope_type": "axial", "rope_theta": 100.0},
        "fullatt_block_indexes": [0, 1],  # every layer: images are smaller than a window
        "out_hidden_size": hidden,
    }
    return Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(text_config=text_config, vision_config=vision_config, tie_word_embeddings=True, **tokens)
    )


def _processor(tokenizer: PreTrainedTokenizerFast, family: Family) -> ProcessorMixin:
    """Return image processor and tokenizer as one.

    The processor of Qwen2.5-VL itself wants a video processor, and that one wants torchvision.
    PaddleOCR-VL's is the same without it: the same inputs, tokens and positions.
    """
    images = Qwen2VLImageProcessorPil(
        patch_size=PATCH,
        temporal_patch_size=1,
        merge_size=2,
        # Paper becomes about zero, so that what is drawn on it stands out.
        image_mean=[0.95] * 3,
        image_std=[0.3] * 3,
        size={"shortest_edge": (2 * PATCH) ** 2, "longest_edge": (8 * 2 * PATCH) ** 2},
    )
    kind = LlavaOnevision15Processor if family == "llavaonevision1_5" else PaddleOCRVLProcessor
    return kind(images, tokenizer, chat_template=_CHAT)
