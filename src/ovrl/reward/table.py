"""The rules by answer type. They are loaded when first used, so that counting never imports sympy."""

REWARDS: dict[str, str] = {
    "multiple-choice": "ovrl.reward.choice:score",
    "math-expressions": "ovrl.reward.expression:score",
    "number": "ovrl.reward.number:score",
    "boolean": "ovrl.reward.boolean:score",
    "bbox": "ovrl.reward.box:score",
    "ocrtext": "ovrl.reward.text:score",
    "html-code": "ovrl.reward.html_code:score",
    "svg-code": "ovrl.reward.svg_code:score",
    "general-code": "ovrl.reward.general_code:score",
    "critic": "ovrl.reward.exact:score_critic",
    "any": "ovrl.reward.exact:score",
}
FALLBACK = "any"
"""The rule of a missing or unknown answer type."""

IMPORTED_LATE: dict[str, tuple[str, ...]] = {"math-expressions": ("ovrl.reward.algebra",)}
"""What a rule imports when it first needs it. A worker does so before it starts the clock of a completion."""
