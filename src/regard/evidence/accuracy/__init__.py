"""Diagnostic accuracy over many studies: two-by-two tables, the bivariate models, their regions, and checks."""
