from pathlib import Path

from medi2i import describe_job, load_run_config
from tests.adaptation.jobs import tiny


def test_a_plan_says_what_would_be_done_and_writes_nothing(domains_folder, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    plan = describe_job(tiny(domains_folder), out=tmp_path / "run", device="cpu")
    assert plan["reads"]["source"]["n_images"] == plan["reads"]["target"]["n_images"] == 12
    assert plan["trains"]["method"] == "cyclegan"
    assert (plan["trains"]["steps"], plan["trains"]["crop_size"], plan["trains"]["device"]) == (4, 32, "cpu")
    config = tiny(domains_folder).adapter
    assert plan["trains"]["parameters"] == sum(p.numel() for p in config.build(seed=0).parameters())
    assert plan["trains"]["estimated_minutes"] >= 0
    assert plan["trains"]["peak_memory_mib"] > 50
    assert plan["writes"]["images"] == 12
    assert sorted(tmp_path.rglob("*")) == before


def contents(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_plan_of_an_interrupted_run_says_what_is_left_and_touches_nothing(copied_run):
    def left() -> dict[str, int]:
        before = contents(copied_run)
        plan = describe_job(load_run_config(copied_run), out=copied_run, device="cpu", resume=True)
        assert contents(copied_run) == before
        assert plan["trains"]["steps"] == 4
        return plan["left"]

    assert left() == {"training_steps": 0, "images_to_translate": 0}
    (copied_run / "translated" / "images" / "drr_03.png").unlink()
    assert left() == {"training_steps": 0, "images_to_translate": 1}
    (copied_run / "checkpoints" / "LATEST").write_text("step-0000002")
    assert left() == {"training_steps": 2, "images_to_translate": 12}
    (copied_run / "manifest.jsonl").unlink()  # stopped while reading: the folders are read again
    assert left()["images_to_translate"] == 12
