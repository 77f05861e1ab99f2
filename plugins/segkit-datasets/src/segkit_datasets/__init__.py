"""Seven published data sets for semantic segmentation, read as they are published, for segkit."""

from __future__ import annotations

from segkit.api import Dataset, Factory, hookimpl
from segkit_datasets.microscopy import CellTracking, DataScienceBowl, Isbi2012
from segkit_datasets.pets import OxfordPet
from segkit_datasets.streets import CamVid, Cityscapes
from segkit_datasets.voc import Voc2012

DATASETS: dict[str, Factory[Dataset]] = {
    "oxford-iiit-pet": OxfordPet,
    "camvid": CamVid,
    "voc2012": Voc2012,
    "cityscapes": Cityscapes,
    "isbi2012": Isbi2012,
    "ctc": CellTracking,
    "dsb2018": DataScienceBowl,
}


@hookimpl
def segkit_dataset(name: str) -> Factory[Dataset] | None:
    return DATASETS.get(name)
