"""The cases of a cohort: a table, or a BIDS folder."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from regard.core.errors import CardError, FileError
from regard.io.delimited import read_rows
from regard.io.guard import exists
from regard.io.tables import IMAGE, Case, is_table, read_table

__all__ = ["find_cohort", "numbered_patients", "read_bids"]

_T1 = re.compile(r"(?P<case>sub-(?P<sub>[A-Za-z0-9]+)(?:_ses-(?P<ses>[A-Za-z0-9]+))?.*?)_T1w\.nii(\.gz)?$")


def find_cohort(path: str | Path) -> list[Case]:
    """The cases that a table or a BIDS folder names.

    Raises
    ------
    FileError
        If there is neither.
    CardError
        If the table is not valid, or the folder holds no T1-weighted image.
    """
    path = Path(path)
    if path.is_dir():
        return read_bids(path)
    if is_table(path):
        return read_table(path)
    raise FileError(f"'{path}'", "a table (.tsv, .csv) or a BIDS folder", "write a table with the columns case, image")


def read_bids(folder: Path) -> list[Case]:
    """The T1-weighted images of a BIDS folder, each a case, in the order of their names.

    ``sub-*/[ses-*/]anat/*_T1w.nii.gz``; a case is called by its file's name without ``_T1w``; ``patient`` is the
    subject. Columns come from ``participants.tsv``, and from ``sub-*/sub-*_sessions.tsv`` where there is one.

    Raises
    ------
    CardError
        If there is no such image.
    FileError
        If a table cannot be read.
    """
    images = [
        p
        for pattern in ("sub-*/anat/*_T1w.nii*", "sub-*/ses-*/anat/*_T1w.nii*")
        for p in folder.glob(pattern)
        if _T1.fullmatch(p.name)
    ]
    if not images:
        raise CardError(f"'{folder}' without sub-*/[ses-*/]anat/*_T1w.nii.gz", "a BIDS folder", "or give a table")
    people = _rows(folder / "participants.tsv", "participant_id")
    cases = []
    for path in sorted(images):
        match = _T1.fullmatch(path.name)
        assert match is not None
        subject = f"sub-{match['sub']}"
        columns = {**people.get(subject, {}), "patient": subject}
        if match["ses"] is not None:
            session = f"ses-{match['ses']}"
            columns |= {"session": session}
            columns |= _rows(folder / subject / f"{subject}_sessions.tsv", "session_id").get(session, {})
        cases.append(Case(match["case"], {IMAGE: path}, columns, folder))
    return cases


def _rows(path: Path, key: str) -> Mapping[str, dict[str, str]]:
    """Rows of a BIDS table by their first column, without what is not known; empty where there is no table."""
    if not exists(path):
        return {}
    rows = read_rows(path, f"table with tabs and the column {key}")
    if rows and key not in rows[0]:
        raise CardError(f"'{path}' without the column {key}", "as BIDS asks", "correct it")
    return {row[key]: {c: v for c, v in row.items() if c and c != key and v and v.lower() != "n/a"} for row in rows}


def numbered_patients(cases: Sequence[Case]) -> list[Case]:
    """The same cases with their patients numbered as they come: what a table calls them stays behind."""
    numbers: dict[str, str] = {}
    for case in cases:
        if "patient" in case.columns:
            numbers.setdefault(case.columns["patient"], f"patient-{len(numbers) + 1:04d}")
    return [
        replace(c, columns={**c.columns, "patient": numbers[c.columns["patient"]]}) if "patient" in c.columns else c
        for c in cases
    ]
