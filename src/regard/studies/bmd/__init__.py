"""Bone mineral density from one CT slice, explained (Kang et al. 2023)."""
