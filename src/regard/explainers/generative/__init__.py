"""Other inputs that give the same output: what a network does not see.

Eulig et al., Medical Physics 2025: an image x~ with f(x~) = f(x) is an invariance of f at x. Some differ from x in
noise, which a denoiser is meant to ignore; those that differ in anatomy are its blind spots.
"""
