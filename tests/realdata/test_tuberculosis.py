"""The one box of TBX11K that is at hand, through the reader, CRM and the boxes: an example, n = 1, and no figure."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from regard.datasets.radiograph_images import grey_of, prepared
from regard.datasets.radiographs import read_tbx11k
from regard.explainers.cam.crm import CRM
from regard.models.zoo.vgg import VGG16
from regard.studies.scoring.boxes import Box, boxes_of_map, iou
from regard.studies.tuberculosis.networks import EXPLAINED, TARGET, start

SIZE = 128


@pytest.fixture
def layout(data: Path, tmp_path: Path) -> Path:
    """The two images in TBX11K's layout, their box in its COCO form."""
    source = data / "cxr_tb"
    with (source / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    images, annotations = [], []
    for n, row in enumerate(rows):
        group = "tb" if row["label"] == "tuberculosis" else "health"
        (tmp_path / "imgs" / group).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / row["file"], tmp_path / "imgs" / group / row["file"])
        images.append({"id": n, "file_name": f"{group}/{row['file']}"})
        if row["x"]:
            values = [float(row[k]) for k in ("x", "y", "w", "h")]
            annotations.append({"image_id": n, "category_id": 1, "bbox": values})
    folder = tmp_path / "annotations" / "json"
    folder.mkdir(parents=True)
    said = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "ActiveTuberculosis"}]}
    (folder / "all.json").write_text(json.dumps(said))
    return tmp_path


def test_the_one_box_goes_all_the_way(layout: Path) -> None:
    found = read_tbx11k(layout)
    ill = [r for r in found.cases if r.boxes]
    assert len(found.cases) == 2 and len(ill) == 1 and not found.failures
    grey = grey_of(ill[0].image)
    image, _ = prepared(grey, SIZE)
    box = ill[0].boxes[0]
    scale = [SIZE / n for n in grey.shape]
    wanted = Box(
        (round(box.y * scale[0]), round(box.x * scale[1])),
        (round((box.y + box.h) * scale[0]), round((box.x + box.w) * scale[1])),
    )
    assert min(wanted.start) >= 0 and max(wanted.stop) <= SIZE and wanted.size > 20
    torch.manual_seed(0)
    network = VGG16(1, 2, 8).eval()
    start(network, None, image[None])
    relevance = CRM(network, EXPLAINED).attribute(image[None], TARGET)[0, 0].detach().numpy()
    assert relevance.shape == (SIZE, SIZE) and np.isfinite(relevance).all()
    boxes = boxes_of_map(relevance)
    # An untrained network: that all steps fit together is the test, not where it looks.
    assert boxes and all(0 <= iou(b, wanted) <= 1 for b in boxes)
