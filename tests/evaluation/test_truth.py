import pytest
from tiny_data import make_scene, save_png

from medi2i.errors import MaskMismatchError
from medi2i.evaluation import measure_truth, require_matrix
from medi2i.evaluation.truth import true_image
from tests.evaluation.rows import nothing


def truth_for(domains, folder, shape=(32, 40)):
    test = [row for row in domains.source if row.split == "test"]
    scene = make_scene(99, shape, film=True)
    return {row.id: save_png(folder / f"{row.id}.png", scene, bits=8) for row in test}


def test_truth_is_measured_on_source_images_never_trained_on(domains, tmp_path):
    truth = truth_for(domains, tmp_path)
    perfect = {}
    for image in domains.images("source", "test"):
        perfect[image.row.id] = true_image(truth[image.row.id], image, domains)[0]
    off = {
        "perfect": lambda image: perfect[image.row.id],
        "shifted": lambda image: perfect[image.row.id] - 0.2,
    }
    result = measure_truth(domains, truth, off, tick=nothing)
    assert (result["n_images"], result["n_patients"]) == (len(truth), 2)
    assert result["perfect"]["mean_absolute_error"]["median"] == 0.0
    assert result["perfect"]["ssim"]["median"] == pytest.approx(1.0)
    # 0.2 of a range that is two wide
    assert result["shifted"]["mean_absolute_error"]["median"] == pytest.approx(0.1, abs=1e-6)


def test_truth_of_training_images_alone_is_not_measured(domains, tmp_path):
    train = next(row for row in domains.source if row.split == "train")
    truth = {train.id: save_png(tmp_path / "t.png", make_scene(0, (32, 40)))}
    assert measure_truth(domains, truth, {}, tick=nothing) is None


def test_a_true_image_of_another_matrix_is_an_error(tmp_path):
    path = save_png(tmp_path / "t.png", make_scene(0, (30, 40)))
    assert require_matrix(path, (30, 40)).pixels.shape == (30, 40)
    with pytest.raises(
        MaskMismatchError, match=r"t\.png: 30 x 40 pixels; expected its source image's 40 x 30"
    ):
        require_matrix(path, (40, 30))
