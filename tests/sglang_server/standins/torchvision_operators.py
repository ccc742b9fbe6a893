"""Lets torchvision, which is built for CUDA, be imported beside a torch that is not.

Its compiled part does not load there, and then the import fails on operators that this part would have declared.
Run at each start of Python by a .pth file: it must be quick, so torch is left alone until torchvision is asked for.
"""

import sys
from typing import Any


class _Declare:
    """Declares the operators just before torchvision is imported for the first time."""

    library: Any = None

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname == "torchvision":
            sys.meta_path.remove(self)  # type: ignore[arg-type]
            import torch

            _Declare.library = torch.library.Library("torchvision", "DEF")
            for name in ("nms", "qnms"):
                _Declare.library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


sys.meta_path.insert(0, _Declare())  # type: ignore[arg-type]
