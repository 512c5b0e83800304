"""Maps from the attention of transformers, and from that attention weighted by its gradient."""
