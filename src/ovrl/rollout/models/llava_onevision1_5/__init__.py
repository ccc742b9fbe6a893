"""LLaVA-OneVision-1.5 (arXiv:2509.23661): the RICE vision tower, a patch merger, and Qwen3 as language model."""
