"""Where the real data lie; and once they are named, nothing may be left out."""

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

NAMED = bool(os.environ.get("REGARD_DATA"))


def _refuse(report: Any) -> Any:
    """Turn a skip into a failure; an expected failure, which pytest counts as a skip too, stays."""
    if NAMED and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped although REGARD_DATA names a folder: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    return _refuse((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    return _refuse((yield))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real images and weights."""
    if not NAMED:
        pytest.skip(reason="REGARD_DATA does not name a data folder")
    return Path(os.environ["REGARD_DATA"])
