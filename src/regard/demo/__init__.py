"""The demo: phantoms, a network trained on them, its maps, and what they are worth."""
