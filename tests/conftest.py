"""Set before torch is loaded, as `ovrl` does for itself; and lets tests import `builders`."""

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("ovrl", deadline=None)  # no test is about seconds
settings.load_profile("ovrl")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.append(str(Path(__file__).parent))  # pytest's importlib mode adds no folder by itself


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """Undo what a command that runs in this process makes of logging: -q would silence all later tests."""
    root, own = logging.getLogger(), logging.getLogger("ovrl")
    before = list(root.handlers), root.level, own.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    own.setLevel(before[2])


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Two threads that wait for each other on a busy machine burn ten times the work; and their sums have no order."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
