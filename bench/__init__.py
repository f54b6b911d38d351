"""``python -m bench``: measurements of the daemon as a process of its own, against a store and a queue in another process.

Not tests: what is timed here is noisy. The figures and how they came about stand in ``RESULTS.md``.
"""
