"""Tuberculosis in chest radiographs, with and without ribs (Rajaraman 2021)."""
