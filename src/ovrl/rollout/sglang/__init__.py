"""The engine that samples with running SGLang servers, over HTTP."""
