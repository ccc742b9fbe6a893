"""Built-in recipes by name: each a class that extends `Recipe`."""

RECIPES = {
    "grpo": "ovrl.train.recipe:Recipe",
    "dapo": "ovrl.train.recipes.dapo:Dapo",
    "dr_grpo": "ovrl.train.recipes.dr_grpo:DrGrpo",
    "gspo": "ovrl.train.recipes.gspo:Gspo",
    "papo": "ovrl.train.recipes.papo:Papo",
    "vade": "ovrl.train.recipes.vade:Vade",
}
