import json
import shutil
from pathlib import Path

import pytest

from medi2i import adapt, describe_job
from medi2i.adaptation import AdaptConfig
from medi2i.errors import ConfigError
from medi2i.segmentation import load_segmenter
from medi2i.training.checkpoint import load_checkpoint
from tests.adaptation.jobs import tiny

SEGMENTER = {
    "widths": [4, 8],
    "training": {"steps": 2, "batch_size": 2, "validate_every": 2, "log_every": 1},
}


def asking(folder: Path, **loss: object) -> AdaptConfig:
    """The tiny job with a loss that asks a segmenter."""
    values = tiny(folder, segmenter=SEGMENTER).model_dump()
    values["adapter"]["structure_losses"] = [{"name": "segmentation_consistency", **loss}]
    return AdaptConfig.model_validate(values)


def logged(run: Path) -> set[str]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return {name for line in lines for name in line.get("losses", {})}


def test_a_run_trains_the_segmenter_first_and_asks_it(domains_folder: Path, tmp_path: Path):
    config, run = asking(domains_folder, thin={"heart": 3}), tmp_path / "run"
    adapt(config, out=run, device="cpu")
    segmenter = load_segmenter(run / "segmenter", device="cpu")
    assert segmenter.structures == ("heart", "lung")
    assert segmenter.config.data == config.data
    counts = json.loads((run / "segmenter" / "model.json").read_text())["images"]
    assert counts["train"] > 0
    assert counts["validation"] > 0
    assert counts["test"] == 0  # what the run is measured on, nobody learns from
    assert "generators/segmentation_consistency_0_source" in logged(run)
    assert not [name for name in load_checkpoint(run / "checkpoints").networks if "segment" in name]
    # a resumed run has its segmenter already
    before = (run / "segmenter" / "model.json").stat().st_mtime_ns
    shutil.rmtree(run / "checkpoints")
    adapt(config, out=run, device="cpu", resume=True)
    assert (run / "segmenter" / "model.json").stat().st_mtime_ns == before


def test_a_co_trained_segmenter_is_a_player_and_no_part_of_what_translates(
    domains_folder: Path, tmp_path: Path
):
    run = tmp_path / "run"
    adapt(asking(domains_folder, segmenter="co_trained"), out=run, device="cpu")
    assert {"segmenter/source_overlap", "segmenter/translated_overlap"} <= logged(run)
    checkpoint = load_checkpoint(run / "checkpoints", rank=0)
    assert not [name for name in checkpoint.networks if "segment" in name]
    assert [name for name in checkpoint.local if name.startswith("co_trained_segmenter.")]
    assert (run / "report.html").is_file()


def test_without_masks_the_loss_is_refused_before_anything_is_written(own_domains: Path, tmp_path: Path):
    shutil.rmtree(own_domains / "src" / "masks")
    match = "'segmentation_consistency' without masks .* on which the main job trains"
    with pytest.raises(ConfigError, match=match):
        describe_job(asking(own_domains), out=tmp_path / "run", device="cpu")


def test_crops_that_the_segmenter_cannot_halve_are_refused(domains_folder: Path, tmp_path: Path):
    config = asking(domains_folder).model_dump()
    config["segmenter"] = SEGMENTER | {"widths": [4] * 6, "data": {"crop_size": 256}}
    with pytest.raises(ConfigError, match=r"segmenter: data\.crop_size is 32"):
        describe_job(AdaptConfig.model_validate(config), out=tmp_path / "run", device="cpu")


def test_the_plan_counts_the_segmenter_and_writes_nothing(domains_folder: Path, tmp_path: Path):
    plan = describe_job(asking(domains_folder, segmenter="co_trained"), out=tmp_path / "run", device="cpu")
    assert plan["trains"]["estimated_minutes"] >= 0
    assert not (tmp_path / "run").exists()
