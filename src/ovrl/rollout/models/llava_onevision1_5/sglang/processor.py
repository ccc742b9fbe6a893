"""Images and token ids to what the model reads, in SGLang's tokenizer process."""

# SGLang is in an environment of its own, out of the type checker's sight.
# pyright: reportMissingImports=false, reportUntypedBaseClass=false, reportUnknownParameterType=false

from collections.abc import Sequence
from typing import Any

from sglang.srt.managers.schedule_batch import MultimodalProcessorOutput
from sglang.srt.multimodal.processors.base_processor import BaseMultimodalProcessor, MultimodalSpecialTokens

from ovrl.rollout.models.llava_onevision1_5.processor import IMAGE_TOKEN
from ovrl.rollout.models.llava_onevision1_5.sglang.model import LLaVAOneVision1_5_ForConditionalGeneration


class LlavaOnevision15MultimodalProcessor(BaseMultimodalProcessor):
    """Expands each image token to as many as its image needs, and leaves all other tokens as they came."""

    models = [LLaVAOneVision1_5_ForConditionalGeneration]  # noqa: RUF012 - SGLang declares it so

    def __init__(self, hf_config: Any, server_args: Any, _processor: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(hf_config, server_args, _processor, *args, **kwargs)
        self.mm_tokens = MultimodalSpecialTokens(
            image_token=IMAGE_TOKEN, image_token_id=hf_config.image_token_id
        ).build(_processor)

    async def process_mm_data_async(
        self, image_data: Sequence[Any] | None, input_text: str | list[int], request_obj: Any, *args: Any, **kwargs: Any
    ) -> MultimodalProcessorOutput:
        """Return the prompt with its image tokens expanded, and the patches of each image.

        Raises:
            ValueError: image tokens and images do not match. SGLang's own models drop surplus images, and
                never answer where there are too few.
        """
        images = list(image_data or [])
        is_text = isinstance(input_text, str)
        marks = input_text.count(IMAGE_TOKEN) if is_text else input_text.count(self.hf_config.image_token_id)
        if marks != len(images):
            raise ValueError(f"{marks} image tokens for {len(images)} images; send one token for each")
        loaded = await self.load_mm_data(prompt=input_text, image_data=images, multimodal_tokens=self.mm_tokens)
        items, ids, _ = await self.process_and_combine_mm_data_async(loaded, self.mm_tokens)
        return MultimodalProcessorOutput(
            input_ids=ids.tolist(), mm_items=items, im_token_id=self.hf_config.image_token_id
        )

    def resolve_image_token_counts(self, images: Sequence[Any]) -> list[int]:
        """Return the tokens that each image needs."""
        own = self._processor.image_processor
        sizes = [tuple(i.shape[-2:]) if hasattr(i, "shape") else (i.height, i.width) for i in images]
        return [own.get_number_of_image_patches(*size, {}) // own.merge_size**2 for size in sizes]
