"""The engines, each of which makes a head of the same kind."""
