import datetime
from pathlib import Path

import pytest
import torch
import yaml

from medi2i import choose_config
from medi2i import config as config_module
from medi2i.adaptation import default_run_folder
from medi2i.errors import ConfigError


@pytest.fixture
def presets(monkeypatch, tmp_path):
    for name, seed in (("cyclegan", 1), ("cyclegan_laptop", 2), ("identity", 3)):
        content = {"seed": seed, "adapter": {"name": name.split("_")[0]}}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.setattr(config_module, "preset_folder", lambda command: tmp_path)


@pytest.mark.usefixtures("presets")
@pytest.mark.parametrize(
    ("method", "config", "device", "gpu", "seed"),
    [
        (None, None, "cpu", False, 2),
        (None, None, "cpu", True, 2),
        (None, None, "auto", False, 2),
        (None, None, "auto", True, 1),
        ("cyclegan", None, "cuda", True, 1),
        ("cyclegan", "cyclegan", "cpu", False, 1),
        ("identity", None, "cpu", False, 3),
        ("identity", None, "auto", True, 3),
    ],
)
def test_the_preset_follows_method_and_device(monkeypatch, method, config, device, gpu, seed):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert choose_config(method, config, [], device).seed == seed


@pytest.mark.usefixtures("presets")
def test_a_config_of_another_method_is_an_error():
    with pytest.raises(ConfigError, match="method 'cyclegan'; expected method 'identity'"):
        choose_config("identity", "cyclegan", [], "cpu")
    with pytest.raises(ConfigError, match="did you mean 'cyclegan'"):
        choose_config("cycelgan", None, [], "cpu")


def test_default_run_folders_are_numbered(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    day = datetime.datetime(2031, 2, 3)
    assert default_run_folder("munit", day) == Path("runs/2031-02-03-munit")
    for name in ("2031-02-03-munit", "2031-02-03-munit-2"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    assert default_run_folder("munit", day) == Path("runs/2031-02-03-munit-3")


@pytest.mark.parametrize(
    ("overrides", "epochs", "steps"),
    [
        (["training.steps=7"], None, 7),
        (["training.epochs=3"], 3, None),
        (["training.steps=null"], 200, None),
        (["training.steps=7", "training.epochs=3"], 3, None),
    ],
)
def test_a_length_that_is_set_takes_the_presets_other_one_out(overrides, epochs, steps):
    training = choose_config("cyclegan", "cyclegan", overrides, "cpu").require_training()
    assert (training.epochs, training.steps) == (epochs, steps)
