"""Text and images to tensors for LLaVA-OneVision-1.5: the Qwen2-VL image processor and the Qwen tokenizer.

The released directories name Qwen2.5-VL's processor. Ours makes the same of stills, and does without the video
processor, which needs torchvision.
"""

from typing import Any

from transformers import ProcessorMixin

IMAGE_TOKEN = "<|image_pad|>"


class LlavaOnevision15Processor(ProcessorMixin):
    """Image processor and tokenizer as one; each `<|image_pad|>` in a text becomes as many as its image needs."""

    def __init__(
        self, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None, **kwargs: Any
    ) -> None:
        del kwargs  # what older files say of videos
        self.image_token = IMAGE_TOKEN
        self.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    def replace_image_token(self, image_inputs: dict[str, Any], image_idx: int, **kwargs: Any) -> str:
        """Return the text that stands for one image: one token for each merged square of patches."""
        del kwargs
        patches = int(image_inputs["image_grid_thw"][image_idx].prod())
        return IMAGE_TOKEN * (patches // self.image_processor.merge_size**2)
