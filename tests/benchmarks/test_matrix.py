import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.suites import tiny_suite

from medi2i.benchmarks import State, cells, describe_benchmark, plan_cells, run_benchmark, share_of
from medi2i.benchmarks.measure import measure_path
from medi2i.benchmarks.records import join_records
from medi2i.benchmarks.suite import PhantomData
from medi2i.config import dump_config
from medi2i.errors import CheckpointError, ConfigError, InterruptedRunError, OutputExistsError, UsageError
from medi2i.io.atomic import write_text_atomically


def times(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def done(domains_folder, tmp_path_factory) -> Path:
    """Read-only: the tiny suite, run in two shards."""
    out = tmp_path_factory.mktemp("benchmark") / "tiny"
    suite = tiny_suite(domains_folder)
    first = run_benchmark(suite, out=out, shard=(1, 2), device="cpu")
    assert (first.finished, first.failed, first.missing) == (2, {}, 2)
    second = run_benchmark(suite, out=out, shard=(2, 2), device="cpu")
    assert (second.finished, second.failed, second.missing) == (2, {}, 0)
    return out


@pytest.fixture
def adapts(monkeypatch) -> Iterator[list[tuple[str, bool]]]:
    """Calls of the main job, (run folder below cells/, resumed), which is really done."""
    calls: list[tuple[str, bool]] = []
    real = cells.adapt

    def adapt(config, *, out, resume, device):
        calls.append((f"{out.parent.name}/{out.name}", resume))
        return real(config, out=out, resume=resume, device=device)

    monkeypatch.setattr(cells, "adapt", adapt)
    return calls


def test_every_cell_has_a_run_and_its_measures(done):
    for row in ("histogram", "cyclegan"):
        for seed in (0, 1):
            run = done / "cells" / "toy" / row / f"seed{seed}"
            results = json.loads((run / "results.json").read_text())
            measured = json.loads(measure_path(run, "translation").read_text())["values"]
            assert results["run"]["seed"] == seed
            assert measured["distance"] == results["distance"]["translated"]
            kept = results["structure"]["translated"]["gradient_correlation"]["median"]
            assert measured["gradient_correlation"] == kept
            assert (measured["seconds_per_step"] is None) == (row == "histogram")


def test_seconds_a_step_are_the_batch_over_the_images_a_second(done):
    run = done / "cells" / "toy" / "cyclegan" / "seed0"
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    rates = [line["images_per_second"] for line in lines if "images_per_second" in line]
    assert len(rates) == 2
    measured = json.loads(measure_path(run, "translation").read_text())["values"]
    assert measured["seconds_per_step"] == pytest.approx((1 / rates[0] + 1 / rates[1]) / 2)


def test_a_finished_matrix_is_not_touched_again(done, domains_folder, adapts):
    before = times(done / "cells")
    result = run_benchmark(tiny_suite(domains_folder), out=done, device="cpu")
    assert (result.finished, result.missing) == (4, 0)
    assert adapts == []
    assert times(done / "cells") == before


def test_shards_are_disjoint_and_cover(domains_folder, tmp_path):
    planned = plan_cells(tiny_suite(domains_folder, seeds=[0, 1, 2, 5, 7]), tmp_path)
    shares = [share_of(planned, (i, 3)) for i in (1, 2, 3)]
    names = [cell.name for share in shares for cell in share]
    assert len(names) == len(set(names)) == 10
    assert set(names) == {cell.name for cell in planned}
    assert {len(share) for share in shares} == {3, 4}


def test_a_begun_cell_is_resumed_and_the_others_are_left(domains_folder, tmp_path, adapts, monkeypatch):
    suite = tiny_suite(domains_folder, seeds=[0])
    recorded = cells.adapt

    def stop_at_the_report(config, *, out, resume, device):
        result = recorded(config, out=out, resume=resume, device=device)
        if config.adapter.name == "cyclegan":
            (out / "report.html").unlink()
            raise InterruptedRunError("run", found="a request to stop", expected="to finish", remedy="again")
        return result

    with monkeypatch.context() as interrupted:
        interrupted.setattr(cells, "adapt", stop_at_the_report)
        with pytest.raises(InterruptedRunError):
            run_benchmark(suite, out=tmp_path / "out", device="cpu")
    states = {cell.row: cell.state() for cell in plan_cells(suite, tmp_path / "out")}
    assert states == {"histogram": State.FINISHED, "cyclegan": State.BEGUN}
    assert "Not finished" in (tmp_path / "out" / "table.md").read_text()
    checkpoints = tmp_path / "out" / "cells" / "toy" / "cyclegan" / "seed0" / "checkpoints"
    trained = {name: time for name, time in times(checkpoints).items() if name != "BEST"}
    assert trained
    adapts.clear()
    assert run_benchmark(suite, out=tmp_path / "out", device="cpu").missing == 0
    assert adapts == [("cyclegan/seed0", True)]
    # the mark of the best checkpoint is written at each start
    assert times(checkpoints) | trained == times(checkpoints)


def test_a_failed_cell_is_written_down_and_the_matrix_goes_on(domains_folder, tmp_path, run_cli):
    rows = {
        "broken": {"config": str(domains_folder / "tiny.yaml"), "set": ["training=null"]},
        "identity": {"config": "identity"},
    }
    suite = tiny_suite(domains_folder, rows=rows, seeds=[0])
    out, file = tmp_path / "out", tmp_path / "suite.yaml"
    file.write_text(json.dumps(suite.model_dump(mode="json")))
    ended = run_cli("benchmark", file, "--out", out, "--device", "cpu")
    assert ended.code == 3
    assert "failed: toy/broken/seed0: ConfigError: training" in ended.out
    error = json.loads((out / "cells" / "toy" / "broken" / "seed0.error.json").read_text())
    assert "cyclegan has to be trained" in error["error"]
    assert "traceback" not in error
    assert "toy/broken/seed0: ConfigError" in (out / "table.md").read_text()
    table = (out / "table.md").read_text()
    assert table.count("toy/broken/seed0") == 1  # failed, and not once more among the unfinished
    assert "Not finished" not in table
    states = dict(
        line.split(": ") for line in run_cli("benchmark", file, "--out", out, "--dry-run").out.splitlines()
    )
    assert states == {"toy/broken/seed0": "failed", "toy/identity/seed0": "finished"}


def test_an_error_without_a_name_comes_with_its_traceback(domains_folder, tmp_path, monkeypatch):
    def stumble(*arguments, **options):
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(cells, "adapt", stumble)
    suite = tiny_suite(domains_folder, seeds=[0])
    result = run_benchmark(suite, out=tmp_path / "out", rows=["histogram"], device="cpu")
    assert result.failed == {"toy/histogram/seed0": "ZeroDivisionError: planted"}
    error = json.loads((tmp_path / "out/cells/toy/histogram/seed0.error.json").read_text())
    assert "stumble" in "".join(error["traceback"])


def test_cells_of_other_settings_fail_and_are_left_as_they_are(done, domains_folder, tmp_path, adapts):
    out = Path(shutil.copytree(done, tmp_path / "out"))
    runs = times(out / "cells")
    suite = tiny_suite(domains_folder, base={"set": ["evaluation.feature_size=65"]})
    assert {state for _, state in describe_benchmark(suite, out=out)} == {State.OTHER}
    changed = run_benchmark(suite, out=out, device="cpu")
    assert {state for _, state in describe_benchmark(suite, out=out)} == {State.OTHER}
    assert len(changed.failed) == changed.missing == 4
    assert all("other settings (evaluation)" in error for error in changed.failed.values())
    assert adapts == []
    assert times(out / "cells").items() >= runs.items()
    again = run_benchmark(tiny_suite(domains_folder), out=out, device="cpu")
    assert (again.finished, again.failed, again.missing) == (4, {}, 0)
    assert "Failed" not in (out / "table.md").read_text()


def test_a_folder_of_something_else_is_refused(domains_folder, tmp_path, done):
    (tmp_path / "file.txt").touch()
    with pytest.raises(OutputExistsError, match="no benchmark"):
        run_benchmark(tiny_suite(domains_folder), out=tmp_path, device="cpu")
    with pytest.raises(OutputExistsError, match="suite 'tiny'"):
        run_benchmark(tiny_suite(domains_folder, name="other", seeds=[9]), out=done, device="cpu")
    with pytest.raises(OutputExistsError, match="no benchmark"):
        describe_benchmark(tiny_suite(domains_folder), out=tmp_path)


def test_a_cell_whose_folder_holds_something_else_is_not_to_do(domains_folder, tmp_path):
    suite = tiny_suite(domains_folder, seeds=[0], rows={"identity": {"config": "identity"}})
    folder = tmp_path / "out" / "cells" / "toy" / "identity" / "seed0"
    folder.mkdir(parents=True)
    write_text_atomically(tmp_path / "out" / "suite.yaml", dump_config(suite))
    assert describe_benchmark(suite, out=tmp_path / "out") == [("toy/identity/seed0", State.NEW)]
    (folder / "notes.txt").touch()
    assert describe_benchmark(suite, out=tmp_path / "out") == [("toy/identity/seed0", State.FOREIGN)]
    result = run_benchmark(suite, out=tmp_path / "out", device="cpu")
    assert "no run of medi2i" in result.failed["toy/identity/seed0"]


def test_a_dry_run_refuses_a_phantom_of_other_settings(domains_folder, tmp_path):
    suite = tiny_suite(domains_folder, data={"toy": {"phantom": {"set": ["seed=1"]}}})
    other = PhantomData(set=("seed=2",)).load()
    write_text_atomically(tmp_path / "suite.yaml", dump_config(suite))
    write_text_atomically(tmp_path / "data" / "toy" / "phantom.yaml", dump_config(other))
    with pytest.raises(OutputExistsError, match="phantom of other settings"):
        describe_benchmark(suite, out=tmp_path)


def test_a_row_that_is_not_there_is_a_usage_error(domains_folder, tmp_path):
    with pytest.raises(UsageError, match=r"--only cut: no such row.*histogram, cyclegan"):
        plan_cells(tiny_suite(domains_folder), tmp_path, rows=["cut"])


def test_a_data_set_without_a_folder_names_the_option(domains_folder, tmp_path):
    suite = tiny_suite(domains_folder, data={"toy": {"target": "x"}})
    with pytest.raises(ConfigError, match=r"--set data\.toy\.source=DIR"):
        plan_cells(suite, tmp_path)


def test_two_jobs_run_at_a_time_and_say_what_they_do_in_logs(domains_folder, tmp_path):
    suite = tiny_suite(domains_folder, rows={"histogram": {"config": "histogram"}})
    result = run_benchmark(suite, out=tmp_path / "out", jobs=2, device="cpu")
    assert (result.finished, result.failed, result.missing) == (2, {}, 0)
    log = (tmp_path / "out" / "cells" / "toy" / "histogram" / "seed1.log").read_text()
    assert "translating: 12/12" in log


def test_what_another_machine_finished_is_joined_and_not_run_again(done, domains_folder, tmp_path, adapts):
    records = [json.loads(line) for line in (done / "cells.jsonl").read_text().splitlines()]
    assert str(domains_folder) not in (done / "cells.jsonl").read_text()
    file = tmp_path / "cells.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records if record["cell"][-1] == "0"))
    moved = Path(shutil.copytree(domains_folder, tmp_path / "moved"))
    suite, out = tiny_suite(moved), tmp_path / "out"
    joined = run_benchmark(suite, out=out, rows=["histogram"], device="cpu", join=[file])
    assert (joined.finished, joined.missing) == (2, 1)
    assert adapts == [("histogram/seed1", False)]
    there, here = (json.loads((folder / "table.json").read_text()) for folder in (done, out))
    assert (
        here["rows"][0]["values"]["translation.distance"]
        == there["rows"][0]["values"]["translation.distance"]
    )
    assert here["missing"] == ["toy/cyclegan/seed1"]


def test_cells_of_other_settings_or_without_a_measure_are_not_joined(done, domains_folder, tmp_path):
    other = tiny_suite(domains_folder, base={"set": ["evaluation.feature_size=65"]})
    cells_ = plan_cells(other, tmp_path / "other")
    assert join_records(cells_, done / "cells.jsonl") == 0
    assert {cell.state() for cell in cells_} == {State.NEW}
    more = tiny_suite(domains_folder, measures=[{"name": "translation"}, {"name": "structure"}])
    cells_ = plan_cells(more, tmp_path / "more")
    assert join_records(cells_, done / "cells.jsonl") == 0
    assert {cell.state() for cell in cells_} == {State.NEW}


def test_a_joined_cell_that_lacks_a_later_measure_is_named_and_left(done, domains_folder, tmp_path):
    assert join_records(plan_cells(tiny_suite(domains_folder), tmp_path), done / "cells.jsonl") == 4
    more = tiny_suite(domains_folder, measures=[{"name": "translation"}, {"name": "structure"}])
    planned = plan_cells(more, tmp_path)
    assert {cell.state() for cell in planned} == {State.OTHER}
    assert planned[0].changed_settings() == ["measures"]


@pytest.mark.parametrize(
    "text", ["{", '{"cell": "a"}', "[]", '{"cell": ["a"], "settings": {}, "measures": []}']
)
def test_a_damaged_record_is_refused(domains_folder, tmp_path, text):
    (tmp_path / "cells.jsonl").write_text(text)
    with pytest.raises(CheckpointError, match="no readable records"):
        join_records(plan_cells(tiny_suite(domains_folder), tmp_path / "out"), tmp_path / "cells.jsonl")
