"""Scores of networks that measure, classify and outline, with intervals over patients."""
