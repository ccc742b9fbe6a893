"""Synthetic samples with pictures, from a seed: what `ovrl demo` and the tests learn and are scored on."""

from ovrl.curate.synthetic.draft import LEVELS, Level
from ovrl.curate.synthetic.samples import SPLITS, Split, generate, texts
from ovrl.curate.synthetic.svg import HEAD, TAIL

__all__ = ["LEVELS", "PHRASES", "SPLITS", "Level", "Split", "generate", "texts"]

PHRASES = (HEAD, TAIL)
"""Strings that recur verbatim; a tokenizer made for these samples may take each as one token."""
