"""Published weights as a run: names and numbers of the reference generator, and what is refused."""

import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_data import load_png, make_scene, save_png

from medi2i import adapt, choose_config, import_weights, translate
from medi2i.adaptation import stages
from medi2i.adaptation.reference_weights import read_reference_weights, reference_names
from medi2i.adaptation.run_folder import RunFolder
from medi2i.errors import CheckpointError, ConfigError, InterruptedRunError, OutputExistsError, UsageError
from medi2i.translation import load_translator
from tests.adaptation.published import Reference, save


def settings(domains: Path, *changes: str):
    config = choose_config(
        "imported", None, ["evaluation.feature_size=64", "data.working_size=40", *changes], "cpu"
    )
    return config.model_copy(update={"source": str(domains / "src"), "target": str(domains / "tgt")})


@pytest.fixture(scope="module")
def imported(domains_folder, tmp_path_factory):
    """(weights there, weights back, run) of a generator each way."""
    folder = tmp_path_factory.mktemp("published")
    there, back = Reference(seed=1).eval(), Reference(seed=2).eval()
    files = save(there, folder / "there.pth"), save(back, folder / "back.safetensors")
    run = folder / "run"
    import_weights(files[0], settings(domains_folder), out=run, back=files[1], device="cpu")
    return there, back, run


@pytest.mark.parametrize("blocks", [6, 9])
def test_names_are_those_of_the_published_generators(blocks):
    names = reference_names(blocks)
    assert set(names) == set(Reference(blocks=blocks).state_dict())
    assert names[f"model.{17 + blocks}.bias"] == "paint.1.bias"
    assert set(reference_names(blocks, dropout=True)) == set(
        Reference(blocks=blocks, dropout=True).state_dict()
    )


@pytest.mark.parametrize(("direction", "which"), [("source-to-target", 0), ("target-to-source", 1)])
def test_an_imported_run_translates_as_the_reference_does(imported, tmp_path, direction, which):
    scene = make_scene(4, (32, 40))
    image = save_png(tmp_path / "one.png", scene)
    translate(imported[2], image, out=tmp_path / "out", direction=direction, device="cpu")
    values = 2 * torch.from_numpy(load_png(image) / 65535).float() - 1
    with torch.no_grad():
        wanted = imported[which](values[None, None])[0, 0].numpy()
    codes = load_png(tmp_path / "out" / "images" / "one.png")
    assert np.ptp(codes) > 1000
    np.testing.assert_allclose(2 * (codes / 65535) - 1, wanted, atol=1e-4)


def test_an_imported_run_is_a_run(imported):
    run = imported[2]
    opened = RunFolder(run, device="cpu")
    assert opened.bidirectional
    assert opened.config.adapter.weights_sha256[0] != opened.config.adapter.weights_sha256[1]
    results = json.loads((run / "results.json").read_text())
    assert (results["run"]["method"], results["run"]["steps"]) == ("imported", 0)
    assert (run / "report.html").is_file()
    assert len(list((run / "translated" / "images").iterdir())) == 12
    assert len(list((run / "translated" / "masks").iterdir())) == 12
    image = next(opened.test_images())
    assert opened.translate_source(image).shape == image.image.shape
    # the whole scale is the map, of both domains
    assert {tuple(one.to_dict().values()) for one in opened.translator.intensities.values()} == {(0.0, 1.0)}


def test_colour_generators_see_grey_in_three_channels(domains_folder, tmp_path):
    reference = Reference(channels=3, seed=5).eval()
    file = save(reference, tmp_path / "colour.pth")
    import_weights(file, settings(domains_folder), out=tmp_path / "run", device="cpu")
    translator = load_translator(tmp_path / "run", device="cpu")
    image = torch.linspace(-1, 1, 32 * 40).reshape(32, 40)
    with torch.no_grad():
        red, green, blue = reference(image.expand(1, 3, -1, -1))[0]
    wanted = 0.299 * red + 0.587 * green + 0.114 * blue
    found, _ = translator.translate(image.numpy(), np.ones((32, 40), dtype=bool), "source-to-target")
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5)
    with pytest.raises(UsageError, match="learns one way only"):
        translate(tmp_path / "run", file, out=tmp_path / "o", direction="target-to-source", device="cpu")


def test_old_files_with_running_statistics_dropout_and_prefixes_are_read(tmp_path):
    state = Reference(dropout=True).state_dict()
    old = {f"module.{key}": value for key, value in state.items()}
    old |= {
        "module.model.2.running_mean": torch.zeros(4),
        "module.model.2.num_batches_tracked": torch.tensor(3),
    }
    torch.save({"state_dict": old}, tmp_path / "old.pth")
    read = read_reference_weights(tmp_path / "old.pth")
    assert (read.generator.width, read.generator.blocks, read.channels) == (4, 2, 1)
    torch.testing.assert_close(read.tensors["transform.1.layers.5.bias"], state["model.11.conv_block.6.bias"])


class Trap:
    """Unpickling it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("model.1.bias"), "no 'model.1.bias'"),
        (lambda state: state.update({"model.2.weight": torch.ones(4)}), "'model.2.weight'"),
        (
            lambda state: state.update({"model.4.weight": torch.ones(8, 4, 4, 4)}),
            r"'model.4.weight' of shape",
        ),
        (lambda state: state.update({"model.1.weight": torch.ones(4, 2, 7, 7)}), "2 channels in and 1 out"),
        (lambda state: state["model.1.bias"].fill_(float("nan")), "not finite"),
        (lambda state: state.clear(), "no dictionary of tensors"),
        (lambda state: state.update({"epoch": 3}), "no dictionary of tensors"),
    ],
)
def test_weights_of_another_network_are_refused(change, words, tmp_path):
    state = dict(Reference().state_dict())
    change(state)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=words):
        read_reference_weights(tmp_path / "other.pth")


def test_nothing_but_tensors_is_unpickled(tmp_path):
    torch.save({"model.1.weight": Trap(tmp_path / "trapped")}, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match="no weights that can be read safely"):
        read_reference_weights(tmp_path / "bad.pth")
    assert not (tmp_path / "trapped").exists()
    (tmp_path / "cut.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="no weights that can be read safely"):
        read_reference_weights(tmp_path / "cut.safetensors")
    with pytest.raises(UsageError, match="no such file"):
        read_reference_weights(tmp_path / "nowhere.pth")


def test_two_generators_have_to_be_of_one_size(domains_folder, tmp_path):
    small, large = save(Reference(), tmp_path / "a.pth"), save(Reference(width=8), tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match="different sizes there and back"):
        import_weights(small, settings(domains_folder), out=tmp_path / "run", back=large, device="cpu")
    assert not (tmp_path / "run").exists()


def test_an_interrupted_import_is_continued_by_the_same_command(domains_folder, tmp_path, monkeypatch):
    file = save(Reference(), tmp_path / "a.pth")
    config = settings(domains_folder)
    original = stages.Stages.translate

    def stopped(self):
        signal.raise_signal(signal.SIGTERM)
        original(self)

    with monkeypatch.context() as patch:
        patch.setattr(stages.Stages, "translate", stopped)
        with pytest.raises(InterruptedRunError, match="run the same command again"):
            import_weights(file, config, out=tmp_path / "run", device="cpu")
    with pytest.raises(OutputExistsError):  # other settings
        import_weights(file, settings(domains_folder, "seed=1"), out=tmp_path / "run", device="cpu")
    import_weights(file, config, out=tmp_path / "run", device="cpu")
    assert len(list((tmp_path / "run" / "translated" / "images").iterdir())) == 12
    with pytest.raises(OutputExistsError):  # finished
        import_weights(file, config, out=tmp_path / "run", device="cpu")


def test_adapt_does_not_pretend_to_train_it(domains_folder, tmp_path):
    with pytest.raises(ConfigError, match="make such a run with `medi2i import-weights`"):
        adapt(settings(domains_folder), out=tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_the_command_imports(domains_folder, run_cli, tmp_path):
    file = save(Reference(), tmp_path / "a.safetensors")
    folders = ("--src", domains_folder / "src", "--tgt", domains_folder / "tgt", "--out", tmp_path / "run")
    small = ("--set", "evaluation.feature_size=64", "--set", "data.working_size=40", "--device", "cpu")
    ended = run_cli("import-weights", file, *folders, *small)
    assert ended.code == 0, ended.err
    assert "Nothing was trained." in ended.out
    ended = run_cli("import-weights", tmp_path / "no.pth", *folders, *small)
    assert ended.code == 2 and "no such file" in ended.error
