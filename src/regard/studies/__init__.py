"""The papers, end to end: each a recipe in five acts, at four sizes."""

from regard.core.registry import Registry

__all__ = ["ACTS", "SIZES", "STUDIES"]

ACTS = ("data", "train", "score", "explain", "weigh")
"""What every study does, in this order."""

SIZES = ("smoke", "default", "reference", "paper")
"""How large every study can be."""

STUDIES = Registry(
    "study",
    "regard.studies",
    {
        "bmd": (
            "regard.studies.bmd.study:BMDStudy",
            "bone mineral density from CT, and where the number comes from (Kang 2023)",
        ),
        "bone-suppression": (
            "regard.studies.bone_suppression.study:BoneSuppressionStudy",
            "bone suppression in chest radiographs, and what it takes away besides (Rajaraman 2021)",
        ),
        "tuberculosis": (
            "regard.studies.tuberculosis.study:TuberculosisStudy",
            "tuberculosis in chest radiographs with and without ribs, and where it is seen (Rajaraman 2021)",
        ),
        "brain-age": (
            "regard.studies.brain_age.study:BrainAgeStudy",
            "brain age from MRI, voxel by voxel and over a cohort (Bintsi 2021)",
        ),
        "diagnostic-meta-analysis": (
            "regard.studies.diagnostic_meta_analysis.study:MetaAnalysis",
            "pooled accuracy of many studies, and a network of one's own beside them (Zhao 2026)",
        ),
        "ldct": (
            "regard.studies.ldct.study:LDCTStudy",
            "low-dose CT denoisers, and what they do not see (Eulig 2025)",
        ),
    },
)
"""Name to class and one line."""
