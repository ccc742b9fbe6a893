"""Models that ovrl brings along, because transformers does not have them.

They stand under `rollout`, which `train` may import and which may import torch. Importing this package makes
transformers' Auto classes know them, so that their directories load without remote code.
"""

from typing import Any, cast

import torch
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    PreTrainedConfig,
    PreTrainedModel,
    ProcessorMixin,
)

from ovrl.rollout.models.llava_onevision1_5.configuration import LlavaOnevision15Config
from ovrl.rollout.models.llava_onevision1_5.model import LLaVAOneVision1_5_ForConditionalGeneration
from ovrl.rollout.models.llava_onevision1_5.processor import LlavaOnevision15Processor

_CONFIG = LlavaOnevision15Config
AutoConfig.register(_CONFIG.model_type, _CONFIG, exist_ok=True)
AutoModelForImageTextToText.register(_CONFIG, LLaVAOneVision1_5_ForConditionalGeneration, exist_ok=True)
cast(Any, AutoProcessor).register(_CONFIG, LlavaOnevision15Processor, exist_ok=True)


def load(name: str, dtype: torch.dtype) -> tuple[PreTrainedModel, ProcessorMixin]:
    """Return model and processor of a directory or hub id: any image-text-to-text model of transformers, or of ours.

    Args:
        name: a directory, or a hub id that the local cache (or the network) holds.
        dtype: of the weights.
    """
    model: Any = AutoModelForImageTextToText.from_pretrained(name, dtype=dtype)
    return model, load_processor(name, model.config)


def load_processor(name: str, config: PreTrainedConfig) -> ProcessorMixin:
    """Return the processor of a directory or hub id.

    The released LLaVA-OneVision-1.5 directories ask for Qwen2.5-VL's processor, which handles videos too and does
    not load where torchvision is missing. `AutoProcessor` obeys the directory; here the model decides.

    Args:
        name: a directory, or a hub id that the local cache (or the network) holds.
        config: of the model.
    """
    known: Any = LlavaOnevision15Processor if isinstance(config, LlavaOnevision15Config) else AutoProcessor
    return known.from_pretrained(name)
