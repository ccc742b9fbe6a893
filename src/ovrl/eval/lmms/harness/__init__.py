"""What runs in lmms-eval's environment."""
