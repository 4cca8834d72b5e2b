"""Hostile files, made out of a seed."""

from maquette.benchmarks.specimens.catalogue import KINDS, specimens
from maquette.benchmarks.specimens.specimen import Specimen

__all__ = ["KINDS", "Specimen", "specimens"]
