"""The benchmark on a user's own scans: signals of known place, size and contrast planted into them."""
