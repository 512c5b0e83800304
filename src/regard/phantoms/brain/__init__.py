"""Simulated brains from real anatomy, whose age lives in known places."""

from regard.phantoms.brain.ageing import AGES, MIDDLE, RATES, STRUCTURES
from regard.phantoms.brain.atlas import REGIONS, Atlas, atlas
from regard.phantoms.brain.phantom import BrainPhantom
from regard.phantoms.brain.render import Anatomy, Brain, render_anatomy, render_brain
from regard.phantoms.brain.subject import SCANNERS, Scanner, Subject, draw_subject

__all__ = [
    "AGES",
    "Anatomy",
    "Atlas",
    "Brain",
    "BrainPhantom",
    "MIDDLE",
    "RATES",
    "REGIONS",
    "SCANNERS",
    "STRUCTURES",
    "Scanner",
    "Subject",
    "atlas",
    "draw_subject",
    "render_anatomy",
    "render_brain",
]
