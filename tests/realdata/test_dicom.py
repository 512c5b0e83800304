"""Real DICOM series lie where dcm2niix puts them; the data folder is named by ``REGARD_DATA``."""

import os
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

import regard
from regard.core.errors import GeometryError

if not os.environ.get("REGARD_DATA"):
    pytest.skip(reason="REGARD_DATA does not name a data folder", allow_module_level=True)

import dcm2niix

SERIES = Path(os.environ["REGARD_DATA"]) / "ct_body" / "ct_dicom"


def test_every_voxel_of_a_ct_series_is_where_dcm2niix_puts_it(tmp_path: Path) -> None:
    command = [dcm2niix.bin, "-z", "n", "-b", "n", "-f", "o", "-o", str(tmp_path), str(SERIES)]
    subprocess.run(command, check=True, capture_output=True)
    oracle = nibabel.load(next(tmp_path.glob("*.nii")))
    scan = regard.read(SERIES)
    assert scan.unit == "HU"
    # The same axes up to flips: each axis of one is plus or minus an axis of the other.
    turned = np.linalg.inv(oracle.affine) @ scan.affine
    axes = np.rint(turned[:3, :3])
    assert np.allclose(turned[:3, :3], axes, atol=1e-6)
    assert np.allclose(np.abs(axes), np.eye(3))
    flips = [n for n in range(3) if axes[n, n] < 0]
    values = np.flip(oracle.get_fdata(dtype=np.float32), flips)
    corner = np.array([s - 1 if n in flips else 0 for n, s in enumerate(oracle.shape)])
    assert np.allclose(turned[:3, 3], corner, atol=1e-4)
    assert np.array_equal(scan.tensor[0].numpy(), values)


def test_names_play_no_part_and_a_lost_slice_is_named(tmp_path: Path) -> None:
    files = sorted(p for p in SERIES.iterdir() if p.is_file())
    for n, path in enumerate(files):
        (tmp_path / f"{(7 * n) % len(files):03d}").write_bytes(path.read_bytes())
    assert np.array_equal(regard.read(tmp_path).tensor, regard.read(SERIES).tensor)
    lost = files[len(files) // 2]
    next(p for p in tmp_path.iterdir() if p.read_bytes() == lost.read_bytes()).unlink()
    where = float(pydicom.dcmread(lost, stop_before_pixels=True).ImagePositionPatient[2])
    with pytest.raises(GeometryError, match=rf"1 of {len(files)} images missing.* at {where:.2f} mm"):
        regard.read(tmp_path)
