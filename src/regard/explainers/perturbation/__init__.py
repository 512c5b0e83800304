"""Methods of the perturbation family, a file each."""
