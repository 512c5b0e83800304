"""What a low-dose CT denoiser does not see (Eulig 2025)."""
