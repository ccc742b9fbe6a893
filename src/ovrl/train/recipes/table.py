"""Built-in recipes by name: each a class that extends `Recipe`."""

RECIPES = {
    "grpo": "ovrl.train.recipe:Recipe",
    "dapo": "ovrl.train.recipes.dapo:Dapo",
    "dr_grpo": "ovrl.train.recipes.dr_grpo:DrGrpo",
    "dylr": "ovrl.train.recipes.dylr:Dylr",
    "ema_grpo": "ovrl.train.recipes.ema_grpo:EmaGrpo",
    "gspo": "ovrl.train.recipes.gspo:Gspo",
    "noisy_rollout": "ovrl.train.recipes.noisy_rollout:NoisyRollout",
    "observe": "ovrl.train.recipes.difficulty:Observe",
    "odsw": "ovrl.train.recipes.difficulty:Odsw",
    "papo": "ovrl.train.recipes.papo:Papo",
    "vade": "ovrl.train.recipes.vade:Vade",
}
