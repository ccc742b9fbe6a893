"""LLaVA-OneVision-1.5 for SGLang, which loads this package by its name (`SGLANG_EXTERNAL_MODEL_PACKAGE`).

It runs in the server's environment: nothing here imports more of ovrl than the model beside it.
"""
