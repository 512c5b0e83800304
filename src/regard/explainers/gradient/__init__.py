"""Methods of the gradient family, a file each."""
