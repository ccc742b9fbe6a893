"""The same as `serve.py`, for models that ovrl brings along because transformers lacks them.

They need torch and transformers alone. The server's processes import this file again, and so they know them, too.
"""

import importlib.util
import sys
from pathlib import Path


def _import_models() -> None:
    """Import them from where this file is, without a look at what is installed beside ovrl."""
    root = Path(__file__).resolve().parents[2]
    spec = importlib.util.spec_from_file_location("ovrl", root / "__init__.py", submodule_search_locations=[str(root)])
    assert spec is not None
    assert spec.loader is not None
    sys.modules["ovrl"] = package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    importlib.import_module("ovrl.rollout.models")


_import_models()

if __name__ == "__main__":
    from ovrl.rollout.sglang.serve import serve

    serve()
elif __name__ == "__mp_main__":
    from ovrl.rollout.sglang.serve import follow

    follow()
