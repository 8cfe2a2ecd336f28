"""Schedules of faults against a real server, publisher, Python client and page, and what came of each.

`python -m tests.chaos` runs some hundred; `make chaos SEED=… ONLY=cut/17` runs one of them again. `plan` draws a
schedule, `play` performs it, `verdict` judges it; the other modules are what a schedule acts on.
"""
