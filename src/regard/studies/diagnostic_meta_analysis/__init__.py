"""The meta-analysis of diagnostic accuracy: two-by-two tables of many studies pooled by the bivariate model."""
