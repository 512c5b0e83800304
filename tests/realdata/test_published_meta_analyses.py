"""Published meta-analyses of diagnostic accuracy, pooled again.

The data folder is named by the environment variable ``REGARD_DATA``.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from regard.evidence.accuracy.bivariate import fit_normal
from regard.evidence.accuracy.checks import subgroups
from regard.evidence.accuracy.tables import Tables, read_tables


def smoking(data: Path) -> Tables:
    """The first result of each study."""
    studies = read_tables(data / "meta_diagnostic" / "smoking.csv")
    return studies.only([n for n, v in enumerate(studies.columns["result_id"]) if float(v) == 1])


def test_a_published_regression_on_the_kind_of_questionnaire(data: Path) -> None:
    printed = json.loads((data / "meta_diagnostic" / "published_reference_outputs.json").read_text())
    printed = printed["smoking_metaregression_type_REML"]
    studies = smoking(data)
    kind = np.array([float(v == "SAQ") for v in studies.columns["type"]])
    fit = fit_normal(studies, design=np.stack([np.ones(len(studies)), kind], 1))
    names = ("tsens_intercept", "tsens_typeSAQ", "tfpr_intercept", "tfpr_typeSAQ")
    assert fit.effects == pytest.approx([printed[n] for n in names], abs=6e-4)
    assert fit.errors == pytest.approx(printed["se"], abs=6e-4)
    assert fit.p == pytest.approx(printed["p"], abs=6e-4)
    assert fit.deviations == pytest.approx([printed["sd_between_tsens"], printed["sd_between_tfpr"]], abs=6e-4)
    assert fit.correlation == pytest.approx(printed["rho_between"], abs=6e-4)


@pytest.mark.parametrize("name", ["AuditC", "Dementia", "Telomerase", "smoking_result_id_1"])
def test_independent_fits(data: Path, name: str) -> None:
    known = json.loads((data / "meta_diagnostic" / "independent_reml_fits.json").read_text())[name]
    studies = smoking(data) if name.startswith("smoking") else read_tables(data / "meta_diagnostic" / f"{name}.csv")
    fit = fit_normal(studies)
    assert fit.n == known["n"]
    assert fit.effects == pytest.approx([known["tsens"], known["tfpr"]], abs=1e-3)
    assert fit.errors == pytest.approx(known["se"], abs=1e-3)
    assert fit.log_likelihood == pytest.approx(known["plain_REML_logLik"], abs=1e-3)
    assert fit.at_boundary == (abs(known["rho_between"]) > 0.999)


def test_three_modalities_of_one_table(data: Path) -> None:
    groups = subgroups(read_tables(data / "meta_diagnostic" / "Scheidler.csv"), "modality")
    assert {name: fit.at_boundary for name, fit in groups.fits.items()} == {"CT": True, "LAG": False, "MRI": False}
    assert groups.p < 0.01
