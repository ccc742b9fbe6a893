"""Configuration of LLaVA-OneVision-1.5, with the keys and defaults of the released `config.json`.

Released files leave out what equals a default, so the defaults are those of the 4B model.
"""

from typing import Any, ClassVar

from transformers import PreTrainedConfig, Qwen3Config


class RiceConfig(PreTrainedConfig):
    """The vision tower."""

    model_type = "rice_vit"
    base_config_key = "vision_config"

    depth: int = 24
    hidden_size: int = 1024
    hidden_act: str = "gelu"
    intermediate_size: int = 4096
    num_heads: int = 16
    in_channels: int = 3
    patch_size: int = 14
    """Pixels along one side of a patch."""
    spatial_merge_size: int = 2
    """Patches along one side of what becomes one token."""
    temporal_patch_size: int = 1
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-5
    text_hidden_size: int = 2560
    """Width of the language model, into which the merger maps."""
    shifted_features: bool = False
    """Repeat a slip of the released modelling code: where it drops the class tokens, it steps over one for all images
    and not one for each, so that from the second image of a batch on, features are shifted and depend on what is
    beside them. The released weights were trained without it; this is for comparison with that code's figures."""


class LlavaOnevision15TextConfig(Qwen3Config):
    """The language model: Qwen3 under another name, with flat positions for image tokens as for words."""

    model_type = "LLaVAOneVision1_5_text"
    base_config_key = "text_config"
    default_theta = 5_000_000.0

    hidden_size: int = 2560
    intermediate_size: int = 9728
    num_hidden_layers: int = 36
    num_attention_heads: int = 32
    num_key_value_heads: int | None = 8
    max_position_embeddings: int = 262144
    sliding_window: int | None = None
    max_window_layers: int = 36


class LlavaOnevision15Config(PreTrainedConfig):
    """Both of them, and the tokens at which they meet.

    `tie_word_embeddings` is the language model's: what stands here is overwritten by it, since files written by
    transformers 4 leave it out here whatever it is there.
    """

    model_type = "llavaonevision1_5"
    sub_configs: ClassVar[dict[str, type[PreTrainedConfig]]] = {  # pyright: ignore[reportIncompatibleMethodOverride]
        "vision_config": RiceConfig,
        "text_config": LlavaOnevision15TextConfig,
    }
    keys_to_ignore_at_inference = ["past_key_values"]  # noqa: RUF012 - transformers declares it so

    text_config: dict[str, Any] | PreTrainedConfig | None = None
    vision_config: dict[str, Any] | PreTrainedConfig | None = None
    image_token_id: int = 151655
    video_token_id: int = 151656
    vision_start_token_id: int = 151652
    vision_end_token_id: int = 151653
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        """Make the two configurations out of what was given for them.

        Done by hand, so that the transformers of an SGLang server (5.12 and later) reads the file as ours does.
        """
        for name, kind in self.sub_configs.items():
            given = getattr(self, name)
            if not isinstance(given, PreTrainedConfig):
                setattr(self, name, kind(**(given or {})))
        super().__post_init__(**kwargs)
        assert isinstance(self.text_config, Qwen3Config)
        self.tie_word_embeddings = self.text_config.tie_word_embeddings
