"""Names and numbers of the torso's structures, and how each takes up contrast agent."""

__all__ = ["BONES", "L1_PARTS", "STRUCTURES", "UPTAKE"]

_NAMES = (
    "air", "table", "table_mark", "skin", "subcutaneous_fat", "muscle", "visceral_fat", "liver", "gallbladder",
    "spleen", "stomach", "pancreas", "kidney_right", "kidney_left", "renal_sinus", "duodenum", "bowel", "bowel_gas",
    "vessel", "aorta", "aortic_calcium", "ivc", "psoas", "paraspinal", "quadratus_lumborum", "canal", "disc",
    "l1_cortical", "l1_trabecular", "l1_posterior", "t12", "l2", "vertebra", "rib", "costal_cartilage", "sternum",
    "clavicle", "scapula", "humerus", "lung_right", "lung_left", "lung_vessel", "airway", "heart", "mediastinum",
    "diaphragm", "breast", "stool", "crus", "fascia",
)  # fmt: skip

STRUCTURES: dict[str, int] = {name: number for number, name in enumerate(_NAMES)}
"""Name to number in ``Torso.labels``. L1's body is ``l1_cortical`` and ``l1_trabecular``."""

L1_PARTS = ("l1_cortical", "l1_trabecular", "l1_posterior")
"""What L1 is made of."""

BONES = (*L1_PARTS, "t12", "l2", "vertebra", "rib", "sternum", "clavicle", "scapula", "humerus")
"""Structures that hold bone mineral."""

UPTAKE: dict[str, tuple[float, float]] = {
    "aorta": (250.0, 105.0),
    "vessel": (120.0, 110.0),
    "ivc": (40.0, 100.0),
    "heart": (180.0, 95.0),
    "liver": (15.0, 55.0),
    "spleen": (80.0, 70.0),
    "kidney_right": (120.0, 140.0),
    "kidney_left": (120.0, 140.0),
    "pancreas": (55.0, 50.0),
    "stomach": (15.0, 25.0),
    "duodenum": (15.0, 25.0),
    "bowel": (10.0, 20.0),
    "muscle": (5.0, 12.0),
    "psoas": (5.0, 12.0),
    "paraspinal": (5.0, 12.0),
    "quadratus_lumborum": (5.0, 12.0),
    "crus": (5.0, 12.0),
    "mediastinum": (8.0, 15.0),
    "lung_vessel": (200.0, 110.0),
    "l1_trabecular": (4.0, 11.0),
    "t12": (4.0, 9.0),
    "l2": (4.0, 9.0),
    "vertebra": (4.0, 9.0),
}
"""Rise of a structure at 120 kVp [HU] in the arterial and in the portal venous phase; our numbers."""
