"""RICE, the vision tower: the patches of any number of images of any size in, one feature for each token out.

    patches -> embedding -> a class token before each image -> blocks -> class tokens dropped -> merger

Each image attends to itself alone. Queries and keys are rotated by the patch's row (first half of the frequencies)
and column (second half); the class token has no place, and learned angles instead. The class token is dropped
in the end: it gives the patches something to look at.

Axes: n patches of all images, s of patches and class tokens, d width, h heads, e width of a head.
"""

from dataclasses import dataclass
from itertools import groupby
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel, initialization
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.qwen3.modeling_qwen3 import eager_attention_forward
from transformers.utils.generic import is_flash_attention_requested

from ovrl.rollout.models.llava_onevision1_5.configuration import RiceConfig

_THETA = 10_000.0
_BLOCK_EPS = 1e-5
"""The released blocks have it fixed; `layer_norm_eps` is that of the other norms."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where patches and class tokens stand."""

    places: Tensor
    """[n, 2] row and column of each patch in its image."""
    order: Tensor
    """[s] which row of (class tokens, patches) stands here."""
    patches: Tensor
    """[n] where each patch stands."""
    runs: list[tuple[int, int]]
    """(images, s of each): neighbours of equal length, which can attend as one batch."""
    ends: Tensor
    """[images + 1] int32, the lengths added up from 0, as flash attention wants them."""

    @staticmethod
    def of(grid: Tensor, merge: int) -> "_Layout":
        """Return the layout of images of [frames, rows, columns] patches each; a frame counts as an image."""
        frames = [(rows, columns) for count, rows, columns in grid.tolist() for _ in range(count)]
        lengths = [rows * columns + 1 for rows, columns in frames]
        images = len(frames)
        ends = torch.tensor([0, *lengths]).cumsum(0)
        order = torch.arange(sum(lengths))
        is_class = torch.zeros_like(order, dtype=torch.bool)
        is_class[ends[:-1]] = True
        order[is_class] = torch.arange(images)
        order[~is_class] = torch.arange(images, len(order))
        device = grid.device
        return _Layout(
            places=torch.cat([_places(rows, columns, merge) for rows, columns in frames]).to(device),
            order=order.to(device),
            patches=(~is_class).nonzero().squeeze(1).to(device),
            runs=[(len(list(run)), length) for length, run in groupby(lengths)],
            ends=ends.to(device, torch.int32),
        )


def _places(rows: int, columns: int, merge: int) -> Tensor:
    """Return [rows x columns, 2] row and column of each patch, in the image processor's order.

    The `merge x merge` patches of one token follow each other.
    """
    row = torch.arange(rows).view(-1, 1, merge, 1).expand(-1, columns // merge, -1, merge)
    column = torch.arange(columns).view(1, -1, 1, merge).expand(rows // merge, -1, merge, -1)
    return torch.stack([row.flatten(), column.flatten()], dim=1)


def _rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return [s, h, e] with component i and i + e/2 turned by angle i, given as [s, 1, e/2], in float32."""
    first, second = heads.float().chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(heads.dtype)


class RicePatchEmbedding(nn.Module):
    """Patches to vectors. The convolution's window is the whole patch, so it is a matrix product."""

    def __init__(self, config: RiceConfig) -> None:
        super().__init__()
        self.proj = _PatchProjection(
            config.in_channels, config.hidden_size, config.patch_size, stride=config.patch_size, bias=False
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Return [n, d] for [n, channels x patch x patch]."""
        return self.proj(pixels)


class _PatchProjection(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return functional.linear(input.to(self.weight.dtype), self.weight.flatten(1))


class RiceAttention(nn.Module):
    """Attention within each image, by whichever implementation the configuration names."""

    num_key_value_groups = 1
    is_causal = False

    def __init__(self, config: RiceConfig) -> None:
        super().__init__()
        self.config = config
        self.heads = config.num_heads
        self.scaling = (config.hidden_size // config.num_heads) ** -0.5
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden: Tensor, rotation: tuple[Tensor, Tensor], layout: _Layout) -> Tensor:
        """Return [s, d]."""
        query, key, value = self.qkv(hidden).unflatten(-1, (3, self.heads, -1)).unbind(1)
        parts = (_rotate(query, *rotation), _rotate(key, *rotation), value)
        if is_flash_attention_requested(self.config):
            longest = max(length for _, length in layout.runs)
            lengths = {"cu_seq_lens_q": layout.ends, "cu_seq_lens_k": layout.ends}
            mixed = self._attend(*(part[None] for part in parts), **lengths, max_length_q=longest, max_length_k=longest)
        else:
            sizes = [images * length for images, length in layout.runs]
            batches = zip(layout.runs, *(part.split(sizes) for part in parts), strict=True)
            mixed = torch.cat(
                [self._attend(*(part.unflatten(0, run) for part in batch)).flatten(0, 1) for run, *batch in batches]
            )
        return self.proj(mixed.reshape(hidden.shape))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, **lengths: Any) -> Tensor:
        """Return [images, s, h, e] for three of the same shape."""
        name = cast(Any, self.config)._attn_implementation
        attention: Any = cast(Any, ALL_ATTENTION_FUNCTIONS).get_interface(name, eager_attention_forward)
        parts = (part.transpose(1, 2) for part in (query, key, value))
        mixed, _ = attention(
            self, *parts, attention_mask=None, scaling=self.scaling, dropout=0.0, is_causal=False, **lengths
        )
        return mixed


class RiceMlp(nn.Module):
    """Two layers."""

    def __init__(self, config: RiceConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.act = ACT2FN[config.hidden_act]
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return [s, d]."""
        return self.fc2(self.act(self.fc1(hidden)))


class RiceBlock(GradientCheckpointingLayer):
    """A pre-norm transformer block."""

    def __init__(self, config: RiceConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=_BLOCK_EPS)
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=_BLOCK_EPS)
        self.attn = RiceAttention(config)
        self.mlp = RiceMlp(config)

    def forward(self, hidden: Tensor, rotation: tuple[Tensor, Tensor], layout: _Layout) -> Tensor:
        """Return [s, d]."""
        hidden = hidden + self.attn(self.norm1(hidden), rotation, layout)
        return hidden + self.mlp(self.norm2(hidden))


class RiceMerger(nn.Module):
    """The patches of one token side by side, mapped into the language model's width."""

    def __init__(self, config: RiceConfig) -> None:
        super().__init__()
        self.width = config.hidden_size * config.spatial_merge_size**2
        self.ln_q = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = nn.Sequential(
            nn.Linear(self.width, self.width), nn.GELU(), nn.Linear(self.width, config.text_hidden_size)
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """Return [tokens, text width] for [n, d]."""
        return self.mlp(self.ln_q(hidden).view(-1, self.width))


class RiceVisionTower(PreTrainedModel):
    """The tower with its merger."""

    config: RiceConfig
    config_class = RiceConfig
    base_model_prefix = ""
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True
    _no_split_modules = ["RiceBlock"]  # noqa: RUF012 - transformers declares it so
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_attention_backend = True

    def __init__(self, config: RiceConfig) -> None:
        super().__init__(config)
        head = config.hidden_size // config.num_heads
        self.patch_embed = RicePatchEmbedding(config)
        self.class_embedding = nn.Parameter(torch.empty(config.hidden_size))
        self.class_pos_emb = nn.Parameter(torch.empty(1, head // 2))
        self.pre_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.blocks = nn.ModuleList([RiceBlock(config) for _ in range(config.depth)])
        self.merger = RiceMerger(config)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self:
            initialization.normal_(self.class_embedding, std=self.config.hidden_size**-0.5)
            initialization.normal_(self.class_pos_emb)

    def forward(self, pixel_values: Tensor, image_grid_thw: Tensor) -> Tensor:
        """Return the features of all image tokens, [tokens, text width], image after image.

        Args:
            pixel_values: [n, channels x patch x patch], as `Qwen2VLImageProcessor` orders them.
            image_grid_thw: [images, 3] frames, rows and columns of patches.

        Raises:
            ValueError: the patches are not of the size that the configuration names.
        """
        layout = _Layout.of(image_grid_thw, self.config.spatial_merge_size)
        width = self.config.in_channels * self.config.patch_size**2
        if pixel_values.shape != (len(layout.places), width):
            raise ValueError(
                f"pixel_values have the shape {tuple(pixel_values.shape)}, but image_grid_thw asks for "
                f"({len(layout.places)}, {width}); the image processor needs patch_size={self.config.patch_size}, "
                "temporal_patch_size=1"
            )
        images = len(layout.ends) - 1
        patches = self.patch_embed(pixel_values)
        hidden = torch.cat([self.class_embedding.expand(images, -1).to(patches.dtype), patches])[layout.order]
        hidden = self.pre_layernorm(hidden)
        angles = torch.cat([self.class_pos_emb.float().expand(images, -1), self._angles(layout.places)])[layout.order]
        rotation = (angles.cos().unsqueeze(1), angles.sin().unsqueeze(1))
        for block in self.blocks:
            hidden = block(hidden, rotation, layout)
        if self.config.shifted_features:
            return self.merger(hidden[1 : len(patches) + 1])
        return self.merger(hidden[layout.patches])

    def _angles(self, places: Tensor) -> Tensor:
        """Return [n, e/2]: e/4 frequencies times the row, the same times the column (arXiv:2104.09864)."""
        count = self.class_pos_emb.shape[1] // 2
        exponents = torch.arange(count, device=places.device, dtype=torch.float32) / count
        return (places.unsqueeze(-1) * _THETA**-exponents).flatten(1)
