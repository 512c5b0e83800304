"""Every method again, slowly and literally: a package, as its files share names with those in ``explainers``."""
