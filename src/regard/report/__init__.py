"""Figures, one self-contained HTML page, and the browser viewer."""
