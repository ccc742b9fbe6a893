"""A tiny model for the scripted servers, made once."""

from pathlib import Path

import pytest

from engines import make_model
from ovrl.rollout.processor import PromptProcessor
from servers import load_processor


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "tiny", "qwen2_5_vl")


@pytest.fixture(scope="session")
def processor(model: Path) -> PromptProcessor:
    return load_processor(model)
