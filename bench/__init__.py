"""Benchmarks of the separate processes together: ``python -m bench.load`` and ``python -m bench.chaos``.

They are run from a checkout, for they start the real servers of ``tests/servers``; what needs none of these is in
``maquette/benchmarks``.
"""
