"""Attacks on explanations: changed inputs that keep or change prediction and map, and controls of the same size."""

from regard.explainers.attack.engine import attack
from regard.explainers.attack.of_model import AttackedCase, attack_case
from regard.explainers.attack.result import AttackResult, Attempt
from regard.explainers.attack.settings import AttackPlan, Intensities

__all__ = ["AttackPlan", "AttackResult", "AttackedCase", "Attempt", "Intensities", "attack", "attack_case"]
