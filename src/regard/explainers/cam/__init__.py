"""Methods of the cam family, a file each."""
