"""Which method shows what a network uses? Methods by measures by phantoms, on networks trained for it."""
