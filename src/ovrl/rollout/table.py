"""Built-in engines by name: each a function (model, EngineSettings) -> Engine."""

ENGINES = {
    "hf": "ovrl.rollout.transformers_engine:load_engine",
    "fake": "ovrl.rollout.fake:load_engine",
}
