"""Start lmms-eval with ovrl's model class known to it: `python launch.py [NAME=VALUE ...] [flags of lmms-eval]`."""

# pyright: reportMissingImports=false
import importlib
import importlib.util
import os
import sys
from pathlib import Path


def _declare_torchvision() -> None:
    """Declare the operators that torchvision's CUDA build registers; on a CPU its import fails without them."""
    torch = importlib.import_module("torch")  # lmms-eval's, not ours
    if torch.version.cuda is None and importlib.util.find_spec("torchvision") is not None:
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept.append(library)


_kept: list[object] = []
"""The declarations hold for as long as their library lives."""


def main() -> None:
    """Run lmms-eval's own command line, with ovrl where it can be imported."""
    sys.path[0] = str(Path(__file__).resolve().parents[4])
    while len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        name, _, value = sys.argv.pop(1).partition("=")
        os.environ[name] = value
    _declare_torchvision()
    from lmms_eval.models import MODEL_REGISTRY_V2
    from lmms_eval.models.registry_v2 import ModelManifest

    MODEL_REGISTRY_V2.register_manifest(
        ModelManifest(model_id="ovrl", chat_class_path="ovrl.eval.lmms.harness.model.OvrlModel"), overwrite=True
    )
    from lmms_eval.__main__ import cli_evaluate

    cli_evaluate()


if __name__ == "__main__":
    main()
