"""Benchmarks through lmms-eval, which runs as a program of its own in an environment of its own.

    suite -> overlay (task files) -> runner (one process for each task) -> results -> report

`harness/` is what runs over there: it imports nothing of ovrl but the engine, and that only for a model in process.
"""
