"""How good are the heads? Benchmarks that a user can run: ``maquette bench``."""
