"""Rib suppression in chest radiographs, and what it takes away besides the bones (Rajaraman 2021)."""
