"""Built-in recipes by name: each a class that is made with `ObjectiveSettings`."""

RECIPES = {
    "grpo": "ovrl.train.recipe:Recipe",
    "dr_grpo": "ovrl.train.recipes.dr_grpo:DrGrpo",
}
