"""Networks as users have them, and every method on them."""
