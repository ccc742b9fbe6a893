"""The model as SGLang runs it: its own Qwen3 on paged memory, and our vision tower, whole on each GPU.

The modules are named as the tensors are, so weights come in by the names that a trainer has for them.
"""

# SGLang is in an environment of its own, out of the type checker's sight.
# pyright: reportMissingImports=false, reportUntypedBaseClass=false, reportUnknownParameterType=false

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from sglang.srt.managers.mm_utils import general_mm_embed_routine
from sglang.srt.managers.schedule_batch import Modality
from sglang.srt.models.qwen2_5_vl import Qwen2_5_VLForConditionalGeneration
from sglang.srt.models.qwen3 import Qwen3ForCausalLM
from torch import Tensor

from ovrl.rollout.models.llava_onevision1_5.configuration import LlavaOnevision15Config, RiceConfig
from ovrl.rollout.models.llava_onevision1_5.vision import RiceVisionTower


class LLaVAOneVision1_5_ForConditionalGeneration(Qwen3ForCausalLM):  # noqa: N801 - the name in `architectures`
    """Qwen3 that finds image features in place of image tokens."""

    pad_input_ids = Qwen2_5_VLForConditionalGeneration.pad_input_ids
    """Puts an id made of the image's digest in place of its tokens, by which the prefix cache knows it."""

    def __init__(self, config: LlavaOnevision15Config, quant_config: Any = None, prefix: str = "") -> None:
        assert isinstance(config.vision_config, RiceConfig)
        super().__init__(config.text_config, quant_config, prefix)
        self.visual = RiceVisionTower(config.vision_config).eval()

    def get_image_feature(self, items: Sequence[Any]) -> Tensor:
        """Return the features of all tokens of all images, [tokens, width]."""
        place = self.visual.class_embedding
        pixels = torch.cat([item.feature for item in items]).to(place.device, place.dtype)
        return self.visual(pixels, torch.cat([item.image_grid_thw for item in items]))

    @torch.no_grad()
    def forward(self, input_ids: Tensor, positions: Tensor, forward_batch: Any, **kwargs: Any) -> Any:
        """Return what SGLang's logits processor makes of the batch.

        Args:
            input_ids: [tokens] of all requests, one after the other.
            positions: [tokens].
            forward_batch: SGLang's account of the batch.
            kwargs: of features that this model does not have.
        """
        del kwargs
        hidden = general_mm_embed_routine(
            input_ids=input_ids,
            forward_batch=forward_batch,
            language_model=self.model,
            data_embedding_funcs={Modality.IMAGE: self.get_image_feature},
            positions=positions,
        )
        return self.logits_processor(input_ids, hidden, self.lm_head, forward_batch)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Take weights by the names of the checkpoint: all of them, or some while training.

        A name that is unknown is passed over with a warning, as SGLang's own models do: an error would end the
        server, which then reads the same weights again.
        """
        tower = {f"visual.{name}": parameter for name, parameter in self.visual.named_parameters()}

        def words() -> Iterator[tuple[str, Tensor]]:
            for name, tensor in weights:
                if name in tower:
                    tower[name].data.copy_(tensor)
                else:
                    yield name, tensor

        super().load_weights(words())


EntryClass = LLaVAOneVision1_5_ForConditionalGeneration
