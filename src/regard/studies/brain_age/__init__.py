"""Brain age from T1-weighted MRI with maps of how much noise each place bears, and a cohort of them (Bintsi 2021)."""
