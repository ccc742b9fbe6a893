"""LLaVA-OneVision-1.5: image features in place of image tokens, then Qwen3.

The modules are named as the tensors of the released checkpoints are (`visual.*`, `model.*`, `lm_head.weight`), so that
nothing is renamed on the way in, out, or to a server. An image token has one position, as a word has; so positions,
cache, padding and packing are Qwen3's.

Axes: b sequences, t tokens, v words.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import Cache, GenerationMixin, PreTrainedModel, Qwen3Config, Qwen3Model
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils.generic import can_return_tuple

from ovrl.rollout.models.llava_onevision1_5.configuration import LlavaOnevision15Config, RiceConfig
from ovrl.rollout.models.llava_onevision1_5.vision import RiceVisionTower


class LLaVAOneVision1_5_ForConditionalGeneration(PreTrainedModel, GenerationMixin):  # noqa: N801
    """The model. Its name is what `architectures` says in the released `config.json`, by which servers find it."""

    config: LlavaOnevision15Config
    config_class = LlavaOnevision15Config
    base_model_prefix = ""
    supports_gradient_checkpointing = True
    _no_split_modules = ["Qwen3DecoderLayer", "RiceBlock"]  # noqa: RUF012 - transformers declares it so
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}  # noqa: RUF012
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_attention_backend = True

    def __init__(self, config: LlavaOnevision15Config) -> None:
        super().__init__(config)
        text, vision = config.text_config, config.vision_config
        assert isinstance(text, Qwen3Config)
        assert isinstance(vision, RiceConfig)
        self.visual = RiceVisionTower(vision)
        self.model = Qwen3Model(text)
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=False)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        pixel_values: Tensor | None = None,
        image_grid_thw: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Return logits, and the loss where labels are given.

        Sequences can be packed into one row, without padding: `position_ids` then start again at 0 with each of them,
        there is no attention mask, and `use_cache` is False (with a cache, Qwen3 takes the row for one sequence).

        Args:
            input_ids: [b, t], image tokens expanded.
            attention_mask: [b, t] 0 on padding.
            position_ids: [b, t].
            past_key_values: what was read before.
            inputs_embeds: [b, t, width] instead of `input_ids`; then without images.
            labels: [b, t] word to predict at each place, -100 for none; shifted here.
            use_cache: whether to return keys and values.
            pixel_values: [n, ...] patches of the images of all rows, in order; see `RiceVisionTower`.
            image_grid_thw: [images, 3].
            logits_to_keep: the last so many (0 for all), or these.
            kwargs: handed on to Qwen3.

        Raises:
            ValueError: image tokens and images do not match.
        """
        if pixel_values is not None and len(pixel_values):
            inputs_embeds, input_ids = self._embed(input_ids, pixel_values, image_grid_thw), None
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept])
        loss = None
        if labels is not None:
            loss = cast(Any, self).loss_function(logits, labels, vocab_size=logits.shape[-1], **kwargs)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def _embed(self, ids: Tensor | None, pixels: Tensor, grid: Tensor | None) -> Tensor:
        """Return [b, t, width] the words' vectors, with the images' features on image tokens."""
        if ids is None or grid is None:
            raise ValueError("pixel_values need input_ids and image_grid_thw beside them")
        words: Tensor = self.model.embed_tokens(ids)
        features: Tensor = self.visual(pixels, grid)
        here = ids == self.config.image_token_id
        if (tokens := int(here.sum())) != len(features):
            raise ValueError(f"{tokens} image tokens for {len(features)} image features; was the prompt cut?")
        return words.masked_scatter(here.unsqueeze(-1), features.to(words.dtype))

    def _expand_inputs_for_generation(
        self,
        expand_size: int = 1,
        is_encoder_decoder: bool = False,
        input_ids: Tensor | None = None,
        **model_kwargs: Any,
    ) -> tuple[Any, dict[str, Any]]:
        """Repeat each row `expand_size` times, with its images: they have no row of their own to be repeated by."""
        images = {name: model_kwargs.pop(name) for name in ("pixel_values", "image_grid_thw") if name in model_kwargs}
        if input_ids is not None and expand_size > 1 and images.get("image_grid_thw") is not None:
            images = self._repeat_images(input_ids, expand_size, **images)
        ids, rest = cast(Any, super())._expand_inputs_for_generation(
            expand_size, is_encoder_decoder, input_ids, **model_kwargs
        )
        return ids, rest | images

    def _repeat_images(
        self, ids: Tensor, times: int, *, pixel_values: Tensor, image_grid_thw: Tensor
    ) -> dict[str, Tensor]:
        patches = image_grid_thw.prod(dim=1)
        merge = cast(RiceConfig, self.config.vision_config).spatial_merge_size
        row_ends = (ids == self.config.image_token_id).sum(dim=1).cumsum(0)
        rows = torch.searchsorted(row_ends, (patches // merge**2).cumsum(0)).tolist()
        order = [
            image for row in range(len(ids)) for _ in range(times) for image, owner in enumerate(rows) if owner == row
        ]
        parts = pixel_values.split(patches.tolist())
        return {
            "pixel_values": torch.cat([parts[image] for image in order]),
            "image_grid_thw": image_grid_thw[order],
        }
