import json
import shutil

import numpy as np
import pytest
import torch

from medi2i.adapters import HistogramConfig, IdentityConfig
from medi2i.data.manifest import load_radiograph
from medi2i.downstream import DownstreamConfig, job, take_share, trainings
from medi2i.downstream.films import find_films, read_films
from medi2i.downstream.framing import choose_framing
from medi2i.downstream.given import find_predictions
from medi2i.downstream.labels import match_labels
from medi2i.downstream.material import gather_source
from medi2i.downstream.translation import film_translation
from medi2i.errors import (
    ConfigError,
    InterruptedRunError,
    MaskMismatchError,
    NothingUsableError,
    SplitLeakError,
    UsageError,
)
from medi2i.evaluation.verdict import Controls, Evidence, reach_verdict
from medi2i.io.masks import write_mask_folder
from medi2i.training.interruption import StopRequest
from medi2i.translation import Translator
from tests.downstream.squares import NAMES, make_run, write_films
from tests.segmentation.squares import tiny_config


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"))


def turned(film):
    """A way back that is a function: the film at [-1, 1]."""
    low, high = film.pixels.min(), film.pixels.max()
    return (2 * (film.pixels - low) / (high - low) - 1).astype(np.float32)


@pytest.fixture(scope="module")
def measured(run, tmp_path_factory):
    """Everything, trained while the test films are not there."""
    out, hidden = tmp_path_factory.mktemp("out"), run.films.with_name("hidden")
    real, names = job.train_unlabelled, []

    def train_without_films(ground, rows):
        run.films.rename(hidden)
        real(ground, rows)
        names.extend(sorted(path.name for path in (out / "segmenters").iterdir()))
        hidden.rename(run.films)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "train_unlabelled", train_without_films)
        result = run.measure(run.config(few_shot=[0, 2], protocol="both"), out, translate_films=turned)
    return out, result, names


def by_name(result):
    return {row["name"]: row for row in result.facts["rows"]}


def test_all_trainings_without_target_labels_end_before_a_test_film_is_opened(measured):
    """The folder of the test films is away during them; only the pass that looks for leaks came before."""
    assert measured[2] == [
        "adapter",
        "adapter_framing_randomisation",
        "adapter_framing_randomisation_mean_teacher",
        "adapter_randomisation",
        "framing_randomisation",
        "framing_randomisation_mean_teacher",
        "histogram",
        "randomisation",
        "source_only",
    ]


def test_the_table_has_every_row_and_can_be_written(measured):
    _, result, _ = measured
    rows = by_name(result)
    assert len(rows) == 16
    assert rows["oracle"]["labelled_patients"] == "all"
    assert rows["adapter, few-shot 2"]["labelled_patients"] == 2
    assert rows["adapter, films translated"]["protocol"] == "translate-at-test"
    assert {tuple(row["structures"]) for row in rows.values()} == {NAMES}
    assert {row["structures"]["outer"]["n"] for row in rows.values()} == {6}
    assert result.facts["films"]["n_patients"] == 6
    assert result.facts["settings"]["unit"] == "px"
    assert [(point["labelled_patients"], point["row"]) for point in result.facts["budget"]] == [
        (0, "framing + randomisation"),
        (0, "adapter + framing + randomisation"),
        (2, "few-shot 2"),
        (2, "adapter, few-shot 2"),
        (3, "oracle"),
    ]
    assert {row.folds for row in result.rows} == {result.facts["settings"]["folds_hash"]}
    json.dumps(result.facts["settings"], allow_nan=False)


def test_a_translation_that_changes_nothing_scores_as_the_rows_below_it(measured):
    rows = by_name(measured[1])
    for name, row in rows.items():
        if row["base"] is not None and row["protocol"] == "train-on-translated" and "few" not in name:
            # written at 16 bit and cut at the percentiles of its domain, it is nearly the same image
            own, base = (rows[key]["mean"]["dice"]["estimate"] for key in (name, row["base"]))
            assert own == pytest.approx(base, abs=0.02), name


def test_the_verdict_takes_rows_without_target_labels(measured):
    result = measured[1]
    names = [row.name for row in result.rows]
    assert "oracle" not in names
    assert not [name for name in names if "few-shot" in name]
    assert result.own_minus_other.shape == (6, 1)
    teacher = next(row for row in result.rows if row.name == "framing + randomisation + mean teacher")
    assert teacher.techniques == {"framing", "randomisation", "mean_teacher"}
    verdict = reach_verdict(
        Evidence(Controls("passed"), result.rows, result.own_minus_other, result.target_films_trainable)
    )
    assert verdict.name in {"INVALID", "cannot tell"}  # three steps teach nothing


def test_what_is_finished_is_not_computed_again(run, measured, monkeypatch):
    out, result, _ = measured

    def never(*arguments, **others):
        raise AssertionError("trained or scored again")

    monkeypatch.setattr(trainings, "train_on", never)
    monkeypatch.setattr("medi2i.downstream.testing.load_segmenter", never)
    again = run.measure(run.config(few_shot=[0, 2], protocol="both"), out, translate_films=turned)
    assert json.dumps(again.facts) == json.dumps(result.facts)


def test_shares_come_to_the_same_table(run, measured, tmp_path, monkeypatch):
    config, case = run.config(few_shot=[0, 2], protocol="both"), run.case(tmp_path, translate_films=turned)
    told = [take_share(config, case, (number, 2), stop=StopRequest()) for number in (1, 2)]
    assert all("run them again" in words for words in told)
    # films are for later, until all trainings without target labels are over
    assert sorted(path.name for path in (tmp_path / "segmenters").iterdir()) == measured[2]
    assert not (tmp_path / "scores").exists()
    told = [take_share(config, case, (number, 2), stop=StopRequest()) for number in (1, 2)]
    assert all("run it without --shard" in words for words in told)

    def never(*arguments, **others):
        raise AssertionError("trained or scored again")

    monkeypatch.setattr(trainings, "train_on", never)
    monkeypatch.setattr("medi2i.downstream.testing.load_segmenter", never)
    result = run.measure(config, tmp_path, translate_films=turned)
    assert json.dumps(result.facts) == json.dumps(measured[1].facts)
    assert not list(tmp_path.glob("data*"))


def test_each_share_trains_what_no_other_does(run, tmp_path, monkeypatch):
    trained = []
    real = trainings.train_on
    monkeypatch.setattr(
        trainings,
        "train_on",
        lambda config, images, **o: (
            trained.append(o["out"].relative_to(tmp_path)) or real(config, images, **o)
        ),
    )
    config = run.config(framing="none")
    for _ in range(2):
        for number in (1, 2, 3):
            take_share(config, run.case(tmp_path), (number, 3), stop=StopRequest())
    # 3 rows without, 2 with the adapter, the oracle on two folds
    assert len(trained) == len(set(trained)) == 7


def test_other_settings_of_the_segmenter_are_trained_anew_and_not_mixed(run, measured, tmp_path, monkeypatch):
    out = shutil.copytree(measured[0], tmp_path / "out")
    trained = []
    real = trainings.train_on
    monkeypatch.setattr(
        trainings,
        "train_on",
        lambda config, images, **o: trained.append(o["out"].name) or real(config, images, **o),
    )
    config = run.config(segmenter={"config": str(run.settings), "set": ["dice_share=0.9"]}, framing="none")
    run.measure(config, out)
    assert len(trained) == 7  # 3 rows without, 2 with the adapter, the oracle on two folds
    run.measure(config, out)
    assert len(trained) == 7


def test_a_stop_is_heard_and_the_training_goes_on_from_its_checkpoint(run, tmp_path):
    class AfterSome(StopRequest):
        asked = 0

        def raise_if_requested(self, what, remedy):
            self.asked += 1
            if self.asked > 40:
                self.requested = True
            super().raise_if_requested(what, remedy)

    stop, config = AfterSome(), run.config(framing="none")
    with pytest.raises(InterruptedRunError):
        run.measure(config, tmp_path, stop=stop)
    whole = run.measure(config, tmp_path)
    assert [row["name"] for row in whole.facts["rows"]][:2] == ["source only", "histogram"]


def test_masks_of_another_tool_are_a_row_and_their_faults_are_named(run, measured, tmp_path):
    given, settings = tmp_path / "tool", run.config(few_shot=[0, 2], protocol="both")
    shutil.copytree(run.films / "masks", given / "masks")
    shutil.copy(run.films / "dataset.json", given)

    def add(name, folder):
        return run.measure(settings, measured[0], translate_films=turned, extra={name: folder})

    row = by_name(add("a tool", given))["a tool"]
    assert row["mean"]["dice"]["estimate"] == 1
    assert (row["protocol"], row["per_seed_dice"]) == ("given", [1])
    with pytest.raises(UsageError, match="name of a row"):
        add("Oracle", given)
    with pytest.raises(UsageError, match="no folder 'masks'"):
        add("a tool", tmp_path)
    (given / "dataset.json").write_text(json.dumps({"structures": ["Inner ", "outer"]}))
    with pytest.raises(MaskMismatchError, match="the nearest is 'Inner '"):
        add("a tool", given)


def test_masks_of_another_tool_have_to_fit_every_film(run, tmp_path):
    films = read_films(find_films(run.films), match_labels(NAMES, NAMES, {}), lambda: None)
    shutil.copytree(run.films / "masks", tmp_path / "masks")
    given = find_predictions("a tool", tmp_path, films.labels)
    assert given.structures == NAMES  # by the names of its files
    film, radiograph = films.films[0], load_radiograph(films.films[0].item)
    assert np.array_equal(given.answer(film, radiograph), films.masks(film))
    write_mask_folder(tmp_path / "masks" / "film_60", np.zeros((2, 8, 8), dtype=bool), NAMES)
    with pytest.raises(MaskMismatchError, match="8 rows x 8"):
        given.answer(film, radiograph)
    shutil.rmtree(tmp_path / "masks" / "film_60")
    with pytest.raises(MaskMismatchError, match=r"no mask of the film film_60\.png"):
        given.answer(film, radiograph)


def test_one_patient_has_no_oracle_and_no_interval(run, tmp_path):
    films = write_films(tmp_path / "films", range(60, 62))
    (films / "patients.csv").write_text("file,patient\nfilm_60.png,one\nfilm_61.png,one\n")
    result = run.measure(run.config(framing="none", few_shot=[1]), tmp_path / "out", films=films)
    rows = by_name(result)
    assert "oracle" not in rows
    assert "few-shot 1" not in rows
    assert rows["source only"]["mean"]["dice"]["low"] is None
    assert rows["randomisation"]["gap_closed"]["refused"] == "there is no oracle"
    assert result.own_minus_other is None
    assert any("All films are of one patient" in note for note in result.notes)
    assert any("No row 'oracle'" in note for note in result.notes)


def test_test_films_of_the_run_are_refused_unless_transductive(run, tmp_path):
    config = run.config(framing="none")
    with pytest.raises(SplitLeakError, match="the pixels of 5 and the patient of 5"):
        run.measure(config, tmp_path, films=run.target)
    assert not tmp_path.joinpath("segmenters").exists()
    allowed = run.measure(config.model_copy(update={"transductive": True}), tmp_path, films=run.target)
    assert allowed.transductive
    assert any(note.startswith("Transductive") for note in allowed.notes)


def test_a_one_way_method_can_not_translate_films(run, tmp_path):
    with pytest.raises(UsageError, match="one way only"):
        run.measure(run.config(protocol="translate-at-test"), tmp_path)


def test_intensities_of_a_domain_are_refused_before_anything_is_read(run, tmp_path):
    settings = {"config": str(run.settings), "set": ["data.source_intensity.fit=domain"]}
    with pytest.raises(ConfigError, match=r"source_intensity\.fit"):
        run.measure(run.config(segmenter=settings), tmp_path)


def test_the_way_back_of_a_method_is_that_of_its_translator(run):
    def translator(adapter):
        return Translator(
            adapter=adapter,
            data=run.domains.data,
            intensities=run.domains.intensities,
            device=torch.device("cpu"),
            origin={"method": "identity"},
        )

    film = load_radiograph(find_films(run.films).items[0])
    back = film_translation(translator(IdentityConfig().build(seed=0)))
    assert back(film).shape == (40, 36)
    assert (back(film).min(), back(film).max()) == (-1, 1)
    assert np.corrcoef(back(film).ravel(), film.pixels.ravel())[0, 1] > 0.99
    one_way = HistogramConfig().build(seed=0)
    one_way.bidirectional = False
    assert film_translation(translator(one_way)) is None


def test_framing_is_the_segmenters_own_where_the_source_is_framed_or_no_film_fits(run, tmp_path):
    config = tiny_config()
    material = gather_source(run.domains, match_labels(NAMES, NAMES, {}), config.data, tmp_path / "material")

    def choose(asked, source):
        return choose_framing(
            asked,
            config.data.framing,
            source=source,
            material=material,
            domains=run.domains,
            target=run.target,
            out=tmp_path,
        )

    framed = tmp_path / "framed"
    framed.mkdir()
    (framed / "views.json").write_text(json.dumps({"views": [{"name": "a", "frame": {"height_mm": 300}}]}))
    assert choose("auto", framed).framing == config.data.framing
    assert "framed like films already" in choose("auto", framed).note
    found = choose("auto", run.source)
    assert found.framing == config.data.framing
    assert "no fit to the target" in found.note
    with pytest.raises((NothingUsableError, UsageError)):
        choose("fit", run.source)
    own = tmp_path / "augmentation.yaml"
    own.write_text("framing:\n  zoom: [0.8, 1.1]\n")
    assert choose(str(own), run.source).framing.zoom_range == (0.8, 1.1)


def test_the_default_settings_are_three_seeds_and_no_label():
    config = DownstreamConfig()
    assert (config.seeds, config.labelled, config.protocols) == ((0, 1, 2), (), ("train-on-translated",))
