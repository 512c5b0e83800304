"""Methods that learn their map: an optimisation or a network of their own, a file each."""
