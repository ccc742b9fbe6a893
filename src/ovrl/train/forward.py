"""The forward pass: log-probabilities of the sampled tokens, whatever the rows look like.

Everything happens inside one module, so that wrappers for several ranks see one call.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers.utils.generic import is_flash_attention_requested

from ovrl.rollout.anatomy import Anatomy, blank_image
from ovrl.rollout.policy import Policy
from ovrl.rollout.sampling import mask_banned
from ovrl.train import objective
from ovrl.train.batch import Batch
from ovrl.train.layout import Layout


class Scorer(nn.Module):
    """A policy that says how likely given completions are.

    Axes: b completions, t tokens of the longest; r rows, n tokens of the longest; s sampled tokens; v words.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.model = policy.model
        self.config = policy.model.config
        """Read by DeepSpeed's integration, which sizes its buckets by it."""
        self._anatomy = Anatomy.of(policy.model)
        self._banned = policy.banned_ids()
        self._blank = blank_image(policy)

    @property
    def image_token(self) -> int | None:
        """The token in whose place features are put; None: the model is called as a whole, and does that itself."""
        return self._anatomy.image_token if self._anatomy else None

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return log-probability and entropy of each sampled token, [b, t], 0 on padding.

        The first carries the gradient. Banned words are left out exactly as the engine leaves them out when it
        samples.
        """
        layout = batch.layout
        logits = self._whole(layout, batch.mask) if self._anatomy is None else self._parts(layout, batch.mask)
        banned = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
        banned[self._banned] = True
        logp, entropy = objective.log_probabilities(mask_banned(logits, banned), batch.ids[batch.mask])
        empty = torch.zeros(batch.mask.shape, dtype=logp.dtype, device=logp.device)
        return empty.masked_scatter(batch.mask, logp), empty.masked_scatter(batch.mask, entropy)

    def _parts(self, layout: Layout, mask: Tensor) -> Tensor:
        """Return the logits [s, v], each image seen once and no logits made that nobody asks for."""
        parts = cast(Anatomy, self._anatomy)
        words: Tensor = parts.words(layout.ids)
        if layout.images:
            features = parts.see(layout.images)[layout.spread]
            words = words.masked_scatter((layout.ids == parts.image_token).unsqueeze(-1), features.to(words.dtype))
        else:
            blank = {name: value.to(words.device) for name, value in self._blank.items()}
            words = words + 0.0 * parts.see(blank).sum().to(words.dtype)
        positions, extra = layout.positions, {}
        mask_of_rows = layout.attention()
        if mask_of_rows is not None and is_flash_attention_requested(parts.decoder.config):
            ends, mask_of_rows = layout.lengths(), None
            longest = int(ends.diff().max())
            extra = {"cu_seq_lens_q": ends, "cu_seq_lens_k": ends, "max_length_q": longest, "max_length_k": longest}
        elif mask_of_rows is not None and parts.decoder.config._attn_implementation == "eager":
            mask_of_rows = torch.zeros_like(mask_of_rows, dtype=words.dtype).masked_fill(
                ~mask_of_rows, torch.finfo(words.dtype).min
            )
        hidden: Tensor = parts.decoder(
            inputs_embeds=words, attention_mask=mask_of_rows, position_ids=positions, use_cache=False, **extra
        ).last_hidden_state
        return parts.head(hidden.flatten(0, 1)[layout.where[mask]])

    def _whole(self, layout: Layout, mask: Tensor) -> Tensor:
        """Return the logits [s, v] of a family that is called as a whole: one completion in a row, padded."""
        model = cast(Any, self.model)
        where, width = layout.where[mask], layout.ids.shape[1]
        columns, place = torch.unique(where % width, return_inverse=True)
        out = model(
            input_ids=layout.ids,
            attention_mask=(layout.tree >= 0).long(),
            position_ids=layout.positions,
            use_cache=False,
            logits_to_keep=columns,
            **layout.images,
            **layout.per_token,
        )
        logits: Tensor = out.logits[where // width, place]
        if not layout.images and self._blank:
            blank = {name: value.to(logits.device) for name, value in self._blank.items()}
            seen = model.get_image_features(**blank, return_dict=True).pooler_output
            features = torch.cat([part.flatten() for part in seen]) if isinstance(seen, list | tuple) else seen
            logits = logits + 0.0 * features.sum().to(logits.dtype)
        return logits
