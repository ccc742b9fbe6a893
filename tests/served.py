"""A tiny model as transformers and as a real SGLang server have it, and such a server asked in its own words."""

import base64
import io
import json
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from engines import PROMPTS
from ovrl.rollout.policy import Policy
from ovrl.rollout.tiny import PATCH, Family, make_tiny

LIMIT_S = 300.0
"""Seconds that anything may take: a server starts in half a minute on a quiet machine, and in minutes on a busy one."""


@dataclass(frozen=True)
class Weights:
    """One version of a tiny model."""

    served: Path
    """As a server takes it."""
    policy: Policy

    def ids(self, name: str) -> list[int]:
        """Return a prompt's tokens, image tokens expanded."""
        return self.policy.encode([PROMPTS[name]]).input_ids[0].tolist()

    def logprobs(self, name: str, reply: Sequence[int], *, banned: Sequence[int] = ()) -> list[float]:
        """Return what the model itself gives each token of a reply."""
        encoded = self.policy.encode([PROMPTS[name]])
        ids = torch.cat([encoded.input_ids, torch.tensor([list(reply)])], dim=1)
        extras = {key: value for key, value in encoded.extras.items() if value.shape != encoded.input_ids.shape}
        mask = torch.ones_like(ids)
        positions, _ = self.policy.positions(ids, mask, {**extras, **_types(self.policy, ids)})
        with torch.no_grad():
            logits = self.policy.model(input_ids=ids, attention_mask=mask, position_ids=positions, **extras).logits[0]
        logits[:, list(banned)] = -torch.inf
        start = encoded.input_ids.shape[1] - 1
        table = logits[start : start + len(reply)].log_softmax(-1)
        return table.gather(1, torch.tensor(list(reply)).unsqueeze(1)).squeeze(1).tolist()


def _types(policy: Policy, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    return {} if policy.flat_positions else {"mm_token_type_ids": (ids == policy.model.config.image_token_id).int()}


def unexpanded(weights: Weights, name: str) -> list[int]:
    """Return a prompt's tokens as a server must be sent them: one for each image."""
    image = weights.policy.model.config.image_token_id
    ids = weights.ids(name)
    return [index for before, index in zip([None, *ids], ids, strict=False) if index != image or before != image]


def png(name: str) -> list[str]:
    """Return a prompt's images as a server takes them."""
    found: list[str] = []
    for image in PROMPTS[name].images:
        stream = io.BytesIO()
        image.save(stream, "PNG")
        found.append(base64.b64encode(stream.getvalue()).decode())
    return found


def make_weights(folder: Path, family: Family, seed: int) -> Weights:
    """Write a tiny model twice: as ovrl reads it, and as a server does. Its images are of nine tokens and more."""
    own, served = folder / f"{family}-{seed}", folder / f"{family}-{seed}-served"
    make_tiny(own, seed=seed, texts=["How many red circles are there?"] * 2, family=family)
    patch = PATCH
    if family == "qwen2_5_vl":
        patch = _take_only_size_that_sglang_has(own, seed)
    _set(own, image_processor={"size": {"shortest_edge": (6 * patch) ** 2, "longest_edge": (16 * patch) ** 2}})
    policy = Policy.load(str(own), device="cpu", dtype="float32")
    policy.save(served)
    if family == "qwen2_5_vl":
        # With another processor than Qwen2.5-VL's, the server tokenizes replies again. It is not ours, since it needs
        # torchvision.
        video = {"video_processor_type": "Qwen2VLVideoProcessor", "patch_size": patch, "temporal_patch_size": 2}
        _set(served, processor_class="Qwen2_5_VLProcessor", video_processor=video)
    return Weights(served, policy)


def _set(path: Path, **changes: Any) -> None:
    """Change a model directory's processor; mappings are merged."""
    place = path / "processor_config.json"
    settings = json.loads(place.read_text())
    for name, value in changes.items():
        settings[name] = settings.get(name, {}) | value if isinstance(value, dict) else value
    place.write_text(json.dumps(settings))


def _take_only_size_that_sglang_has(path: Path, seed: int) -> int:
    """Change the vision tower: SGLang takes patches of other than 2 x 14 x 14 pixels for finished features.

    And the base of its rotary angles cannot be set. Return the side of a patch.
    """
    patch = 14
    config: Any = AutoConfig.from_pretrained(path)
    config.vision_config.patch_size, config.vision_config.temporal_patch_size = patch, 2
    config.vision_config.rope_parameters["rope_theta"] = 10_000.0
    before: Any = AutoModelForImageTextToText.from_pretrained(path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = AutoModelForImageTextToText.from_config(config)
    model.model.language_model.load_state_dict(before.model.language_model.state_dict())
    model.generation_config = before.generation_config
    model.save_pretrained(path)
    _set(path, image_processor={"patch_size": patch, "temporal_patch_size": 2})
    return patch


@dataclass(frozen=True)
class Raw:
    """A server, asked in its own words."""

    url: str

    def ask(self, path: str, body: Any = None, *, limit_s: float = LIMIT_S, **fields: Any) -> tuple[int, Any]:
        """Return status and answer of a POST of fields, or of a GET where there are none."""
        data = json.dumps(fields or body).encode() if fields or body is not None else None
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(request, timeout=limit_s) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text.decode()

    def post(self, path: str, **fields: Any) -> Any:
        """Return the answer of a POST that must succeed."""
        status, answer = self.ask(path, {}, **fields)
        assert status == 200, (path, status, answer)
        return answer

    def busy(self) -> int:
        """Return how many requests run and wait."""
        return sum(load["num_running_reqs"] + load["num_waiting_reqs"] for load in self.ask("/v1/loads")[1]["loads"])

    def reset(self, weights: Weights, version: str = "default") -> None:
        """Drop what is under way, and give the server weights under the name of those that it starts with."""
        self.ask("/abort_request", {"abort_all": True})
        limit = time.monotonic() + LIMIT_S
        while self.busy():
            assert time.monotonic() < limit, "requests do not end"
            time.sleep(0.05)
        self.post("/update_weights_from_disk", model_path=str(weights.served), weight_version=version)

    def sample(self, weights: Weights, name: str, tokens: int = 12, *, images: Any = None, **fields: Any) -> Any:
        """Return the answer for one completion of that many tokens."""
        asked: dict[str, Any] = {"input_ids": unexpanded(weights, name), "return_logprob": True, **fields}
        if PROMPTS[name].images:
            asked["image_data"] = png(name) if images is None else images
        # A sampled image token would stand for an image in what follows.
        ban = {str(index): -1e9 for index in weights.policy.banned_ids()}
        sampling = {
            "max_new_tokens": tokens,
            "ignore_eos": True,
            "logit_bias": ban,
            **fields.get("sampling_params", {}),
        }
        return self.post("/generate", **asked | {"sampling_params": sampling})


def agree(answer: Any, weights: Weights, name: str, tokens: slice = slice(None), *, within: float = 1e-3) -> bool:
    """Tell whether log-probabilities of these tokens of an answer are what the weights give."""
    reply = answer["output_ids"]
    given = [entry[0] for entry in answer["meta_info"]["output_token_logprobs"]]
    wanted = weights.logprobs(name, reply, banned=weights.policy.banned_ids())
    return given[tokens] == pytest.approx(wanted[tokens], abs=within)
