"""Comparisons and measurements, a folder each, run by ``python -m benchmarks.<name>``.

``protocol.py`` says what is run (trials, data, settings), ``report.py`` makes tables and plots from the rows,
``__main__.py`` reads the arguments, and ``results/`` holds what came out; ``common/`` is what all share.
"""
