"""Recordings as people have them: WFDB, challenge pairs, EDF and BDF, tables of numbers; and those that are refused."""

from pathlib import Path

import numpy as np
import pytest
from signal_files import write_edf, write_mat, write_wfdb

from regard.core.errors import FileError, InputError, RegardError
from regard.core.volume import Volume
from regard.io import find_cases, read
from regard.io.contents import content_sha256
from regard.io.tables import choosing, is_table

_LOW = {16: -32767, 24: -(2**23) + 1, 32: -(2**31) + 1, 61: -32767, 80: -127, 212: -2047}


def _counts(kind: int, shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    counts = generator.integers(_LOW[kind], -_LOW[kind], shape)
    counts[0, 0], counts[-1, -1] = _LOW[kind], -_LOW[kind]
    return counts


def _samples(volume: Volume) -> np.ndarray:
    return volume.tensor[..., 0, 0].numpy()


@pytest.mark.parametrize("kind", sorted(_LOW))
@pytest.mark.parametrize("shape", [(1, 7), (3, 8), (2, 1)])
def test_each_format_of_wfdb_gives_the_samples_that_were_written(tmp_path: Path, kind: int, shape: tuple[int, int]):
    counts = _counts(kind, shape)
    volume = read(write_wfdb(tmp_path, counts, kind=kind))
    np.testing.assert_allclose(_samples(volume), (counts - 10) / 200, rtol=1e-6)
    assert volume.signal is not None
    assert (volume.signal.rate_hz, volume.signal.leads) == (500, tuple(f"L{k + 1}" for k in range(shape[0])))
    assert volume.unit == "mV"
    assert volume.grid.to_world((shape[1], 0, 0))[0] == pytest.approx(shape[1] / 500)


@pytest.mark.parametrize(("kind", "missing"), [(16, -(2**15)), (212, -2048), (80, -128)])
def test_a_sample_marked_as_missing_is_nan_and_no_voltage(tmp_path: Path, kind: int, missing: int):
    counts = _counts(kind, (2, 6))
    counts[1, 3] = missing
    values = _samples(read(write_wfdb(tmp_path, counts, kind=kind)))
    assert np.isnan(values).nonzero() == (np.array([1]), np.array([3]))


def test_a_challenge_pair_is_read_by_either_file_and_hashed_as_a_pair(tmp_path: Path):
    counts = _counts(16, (4, 50))
    header = write_mat(tmp_path, counts)
    for path in (header, header.with_suffix(".mat")):
        np.testing.assert_allclose(_samples(read(path)), counts / 1000, rtol=1e-6)
    before = content_sha256(header)
    data = bytearray(header.with_suffix(".mat").read_bytes())
    data[60] ^= 1
    header.with_suffix(".mat").write_bytes(data)
    assert content_sha256(header) != before


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("rec 2 500 8\n../rec.dat 16\nrec.dat 16\n", "a file beside it"),
        ("rec/3 2 500 8\nrec.dat 16\nrec.dat 16\n", "several segments"),
        ("rec 2 500 8\nrec.dat 310\nrec.dat 310\n", "format 310"),
        ("rec 2 500 900\nrec.dat 16\nrec.dat 16\n", "take 3600"),
        ("rec 2 0 8\nrec.dat 16\nrec.dat 16\n", "rate of 0"),
        ("rec 2 1e999 8\nrec.dat 16\nrec.dat 16\n", "a number"),
        ("rec 99999999 500 8\nrec.dat 16\n", "99999999 signals"),
        ("rec 2 500 8\nrec.dat 16\n", "a line for each"),
        ("rec 2 500 8\nother.dat 16\nother.dat 16\n", "without its samples"),
        ("rec 2 500 999999999999\nrec.dat 16\nrec.dat 16\n", "GiB"),
        ("rec 2 500 8\nrec.dat 16x4\nrec.dat 16x4\n", "samples a frame"),
        ("rec 2 500 8\nrec.dat 16 1e999\nrec.dat 16\n", "a number"),
        ("\x01\x02\x03", "first line"),
    ],
)
def test_a_hostile_header_is_refused_in_a_sentence(tmp_path: Path, line: str, said: str):
    path = write_wfdb(tmp_path, _counts(16, (2, 8)))
    path.write_text(line)
    with pytest.raises(FileError, match=said):
        read(path)


def test_edf_gives_values_rate_units_and_leaves_out_annotations_and_other_rates(tmp_path: Path, caplog):
    counts = np.random.default_rng(1).integers(-(2**15), 2**15, (2, 20))
    slow = np.arange(4)
    path = write_edf(
        tmp_path / "night.edf",
        [("EEG Fpz-Cz", "uV", counts[0], 10), ("Temp", "degC", slow, 2), ("EEG Pz-Oz", "uV", counts[1], 10),
         ("EDF Annotations", "", np.zeros(20, int), 10)],
        seconds=0.1,
    )  # fmt: skip
    volume = read(path)
    np.testing.assert_allclose(_samples(volume), counts / 10, rtol=1e-4, atol=0.06)
    assert volume.signal is not None
    assert (volume.signal.rate_hz, volume.signal.leads, volume.unit) == (100, ("EEG Fpz-Cz", "EEG Pz-Oz"), "uV")
    assert "Temp (20 Hz)" in caplog.text


def test_bdf_has_samples_of_three_bytes(tmp_path: Path):
    counts = np.random.default_rng(2).integers(-(2**23), 2**23, (1, 8))
    volume = read(write_edf(tmp_path / "a.bdf", [("A1", "uV", counts[0], 4)], wide=3))
    np.testing.assert_allclose(_samples(volume), counts / 10, rtol=1e-4, atol=0.06)


@pytest.mark.parametrize("cut", [10, 200, 300, 700, -1])
def test_a_cut_edf_is_refused(tmp_path: Path, cut: int):
    path = write_edf(tmp_path / "a.edf", [("A1", "uV", np.arange(8), 4), ("A2", "uV", np.arange(8), 4)])
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(FileError):
        read(path)


def test_edf_with_gaps_is_refused(tmp_path: Path):
    path = write_edf(tmp_path / "a.edf", [("A1", "uV", np.arange(8), 4)], reserved="EDF+D")
    with pytest.raises(FileError, match="gaps"):
        read(path)


def test_a_table_has_its_rate_from_its_times_or_is_told_it(tmp_path: Path):
    values = np.random.default_rng(3).normal(size=(40, 2))
    times = 2.0 + np.arange(40) / 360
    rows = "\n".join(f"{t:.6f}\t{a!r}\t{b!r}" for t, (a, b) in zip(times, values.tolist(), strict=True))
    timed, bare = tmp_path / "timed.tsv", tmp_path / "bare.csv"
    timed.write_text(f"time_s\tII [mV]\tV5 [mV]\n{rows}\n")
    bare.write_text("\n".join(f"{a!r},{b!r}" for a, b in values.tolist()))
    volume = read(timed)
    assert volume.signal is not None
    assert (volume.signal.rate_hz, volume.signal.leads, volume.unit) == (360, ("II", "V5"), "mV")
    assert volume.affine[0, 3] == pytest.approx(2.0)
    np.testing.assert_allclose(_samples(volume), values.T, rtol=1e-6)
    np.testing.assert_allclose(_samples(read(bare, rate_hz=360)), values.T, rtol=1e-6)
    with pytest.raises(FileError, match="--rate HZ"):
        read(bare)
    with pytest.raises(FileError, match="one of them"):
        read(timed, rate_hz=500)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("time,a\n0,1\n1,2\n3,3\n", "not alike"),
        ("time,a\n0,1\n0,2\n", "not alike"),
        ("time,a\n0,1\n1,2,3\n", "3 cells in row 3"),
        ("time,a\n0,1\n1,x\n", "'x' in row 3"),
        ("time,a,a\n0,1,2\n1,2,3\n", "twice"),
        ("time\n0\n1\n", "times alone"),
        ("time,a\n", "without a row"),
    ],
)
def test_a_hostile_table_is_refused_in_a_sentence(tmp_path: Path, text: str, said: str):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(FileError, match=said):
        read(path)


def test_a_table_of_numbers_is_a_case_and_a_table_of_cases_is_not(tmp_path: Path):
    (tmp_path / "rec.csv").write_text("1,2\n3,4\n")
    (tmp_path / "cases.csv").write_text("case,image,rate_hz\np1,rec.csv,250\n")
    assert (is_table(tmp_path / "cases.csv"), is_table(tmp_path / "rec.csv")) == (True, False)
    (case,) = find_cases([tmp_path / "cases.csv"])
    assert case.read().signal.rate_hz == 250
    (lone,) = choosing(find_cases([tmp_path / "rec.csv"]), rates=["100"])
    assert (lone.case, lone.read().signal.rate_hz) == ("rec", 100)
    with pytest.raises(RegardError, match="--rate"):
        choosing(find_cases([tmp_path / "rec.csv"]), rates=["fast"])


def test_a_rate_is_refused_for_images_and_where_the_file_says_another(tmp_path: Path):
    path = write_wfdb(tmp_path, _counts(16, (1, 8)))
    assert read(path, rate_hz=500).signal.rate_hz == 500
    with pytest.raises(FileError, match="says 500 Hz"):
        read(path, rate_hz=250)


def test_leads_keep_their_names_and_units_when_they_are_chosen():
    volume = Volume.of_signal(np.zeros((3, 5)), 250, ["I", "Resp", "V1"], unit=["mV", "NU", "mV"])
    assert volume.unit == "mixed"
    chosen = volume.lead_numbers([2, 0])
    assert (chosen.signal.leads, chosen.unit) == (("V1", "I"), "mV")
    assert volume.channel(1).signal.leads == ("Resp",)
    with pytest.raises(InputError, match="name of its own"):
        Volume.of_signal(np.zeros((2, 5)), 250, ["I", "I"])
