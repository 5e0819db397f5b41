"""The rules of the house: who may import whom, what is nowhere, and what the package shows to the outside."""

import ast
import importlib
import inspect
import pkgutil
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import medi2i
from medi2i.adaptation import AdaptConfig
from medi2i.benchmarks import SuiteConfig
from medi2i.config import load_config
from medi2i.drr.film import FilmDistribution
from medi2i.drr.phantom import PhantomConfig
from medi2i.drr.structures import StructuresConfig
from medi2i.framing.distribution import FramingDistribution
from medi2i.proof import EvaluateConfig
from medi2i.rendering import DRRConfig
from medi2i.segmentation import SegmenterConfig
from medi2i.synthesis import SynthesizeConfig

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "medi2i"
SOURCES = sorted(PACKAGE.rglob("*.py"))
PRESETS = sorted((ROOT / "configs").rglob("*.yaml"))
PRESET_CLASSES = {
    "adapt": AdaptConfig,
    "benchmark": SuiteConfig,
    "drr": DRRConfig,
    "evaluate": EvaluateConfig,
    "film": FilmDistribution,
    "framing": FramingDistribution,
    "phantom": PhantomConfig,
    "segment": SegmenterConfig,
    "structures": StructuresConfig,
    "synthesize": SynthesizeConfig,
}

# A room may import rooms on lower floors, and itself; never one on its own floor.
FLOORS = (
    ("errors",),
    ("config",),
    ("image", "volume"),
    ("io", "networks", "similarity"),
    ("framing",),
    ("losses", "metrics", "drr"),
    ("data",),
    ("adapters",),
    ("training",),
    ("translation", "segmentation", "rendering"),
    ("evaluation",),
    ("preview",),
    ("preflight", "preservation", "exporters", "reader_study", "downstream"),
    ("adaptation",),
    ("benchmarks", "proof", "synthesis"),
    ("cli",),
    ("__main__",),
)
FLOOR_OF = {room: number for number, floor in enumerate(FLOORS) for room in floor}
# Rooms with a shorter list than their floor: what they may import besides themselves.
ONLY = {"report": ("errors", "config", "image", "io.atomic"), "__main__": ("cli",)}
NEVER = {"losses": ("io",), "metrics": ("io",), "similarity": ("io",), "networks": ("io",)}


def name_of(path: Path) -> str:
    """Dotted name below medi2i; empty for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports_of(path: Path) -> Iterator[str]:
    """Full dotted names that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def below_medi2i(path: Path) -> Iterator[str]:
    return (name.removeprefix("medi2i.") for name in imports_of(path) if name.startswith("medi2i."))


def is_allowed(importer: str, imported: str) -> bool:
    own, other = importer.split(".")[0], imported.split(".")[0]
    if own == other:
        return True
    if own in ONLY:
        return any(imported == name or imported.startswith(f"{name}.") for name in ONLY[own])
    if other == "report":
        return own in {"adaptation", "benchmarks", "proof", "cli"}
    if own == "adapters" and other == "drr":
        return imported.startswith("drr.film")
    return other not in NEVER.get(own, ()) and FLOOR_OF[other] < FLOOR_OF[own]


@pytest.mark.parametrize("path", [path for path in SOURCES if name_of(path)], ids=name_of)
def test_imports_point_down_only(path):
    importer = name_of(path)
    room = importer.split(".")[0]
    assert room in FLOOR_OF or room in ONLY, f"{room}: give it a floor here and in architecture.md"
    wrong = [imported for imported in below_medi2i(path) if not is_allowed(importer, imported)]
    assert wrong == [], f"{importer} may not import {wrong}"


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("io.dicom", "errors.UsageError", True),
        ("io.dicom", "networks.resnet", False),
        ("losses.mind", "similarity.mind", True),
        ("losses.mind", "metrics.edges", False),
        ("drr.phantom", "io.masks", True),
        ("drr.phantom", "losses", False),
        ("adapters.tone", "drr.film", True),
        ("adapters.tone", "drr.phantom", False),
        ("training.loop", "adapters", True),
        ("adapters.base", "training.loop", False),
        ("evaluation", "preview", False),
        ("report.page", "io.atomic.write_text_atomically", True),
        ("report.page", "io.masks", False),
        ("report.page", "metrics", False),
        ("evaluation", "report", False),
        ("errors", "config", False),
    ],
)
def test_the_rule_tells_up_from_down(importer, imported, allowed):
    assert is_allowed(importer, imported) is allowed


def test_the_package_itself_imports_nothing_until_asked():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    at_once = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not any((getattr(node, "module", None) or "").startswith("medi2i") for node in at_once)


def test_training_knows_no_method_by_name():
    methods = {path.stem for path in (PACKAGE / "adapters").glob("*.py")} - {"__init__", "base"}
    assert "cyclegan" in methods
    for path in (PACKAGE / "training").glob("*.py"):
        imported = {part for name in below_medi2i(path) for part in name.lower().split(".")}
        assert not imported & methods
        assert not imported & {f"{method}config" for method in methods}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: name_of(path) or "medi2i")
def test_no_torchvision_no_pickle_no_eval(path):
    forbidden = {"torchvision", "pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
    assert not {name.split(".")[0] for name in imports_of(path)} & forbidden
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"eval", "exec"}, f"{path}:{node.lineno}"
            # other tools ask for torch's own files: of tensors alone, and in these two places alone
            if called in {"torch.load", "torch.save"}:
                assert name_of(path) in {"exporters.bundle", "adaptation.reference_weights"}
                safe = [ast.unparse(word.value) for word in node.keywords if word.arg == "weights_only"]
                assert called == "torch.save" or safe == ["True"], f"{path}:{node.lineno}"
            for keyword in node.keywords:
                if keyword.arg == "allow_pickle":
                    assert ast.unparse(keyword.value) == "False", f"{path}:{node.lineno}"
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{path}:{node.lineno}: bare except"


def test_there_is_no_utils_module():
    assert not [path for path in SOURCES if re.search(r"util|helper|misc|common", path.stem)]


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_preset_loads_into_its_class(path):
    config = load_config(path, PRESET_CLASSES[path.parent.name])
    if isinstance(config, AdaptConfig):
        method = {"fastcut": "cut"}.get(path.stem, path.stem)
        assert f"{method}_".startswith(f"{config.adapter.name}_")
        assert config.training is not None or config.adapter.name in {
            "identity",
            "imported",
            "histogram",
            "randomisation",
        }
        assert config.source is None and config.target is None


def run_help() -> tuple[str, float]:
    """What `medi2i --help` imports (as -X importtime tells), and its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "medi2i", "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "Exit codes" in ended.stdout
    return ended.stderr, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def test_help_is_instant_and_imports_nothing_heavy():
    runs = [run_help() for _ in range(3)]
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in runs[0][0].splitlines()}
    assert "typer" in imported
    assert not imported & {"torch", "monai", "numpy", "scipy", "pydantic", "pydicom", "nibabel", "accelerate"}
    assert min(seconds for _, seconds in runs) < 0.5


def test_help_lists_the_stages_in_the_order_of_use(run_cli):
    ended = run_cli("--help")
    assert ended.code == 0
    positions = [ended.out.find(f" {stage} ") for stage in ("phantom", "adapt", "translate", "report")]
    assert -1 not in positions
    assert positions == sorted(positions)


@pytest.fixture(scope="module")
def every_module() -> list[ModuleType]:
    names = [module.name for module in pkgutil.walk_packages(medi2i.__path__, "medi2i.")]
    return [importlib.import_module(name) for name in names if not name.endswith("__main__")]


@pytest.mark.usefixtures("every_module")
@pytest.mark.parametrize("name", medi2i.__all__)
def test_no_module_shadows_a_public_name(name):
    shown = getattr(medi2i, name)
    assert not inspect.ismodule(shown)
    assert callable(shown)
    assert shown is getattr(importlib.import_module(shown.__module__), name)
    assert inspect.getdoc(shown)
    assert name in dir(medi2i)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'adapts'"):
        medi2i.adapts  # noqa: B018


@pytest.mark.usefixtures("every_module")
def test_every_public_function_works_twice_after_importing_everything(tmp_path):
    config = PhantomConfig.model_validate(
        {
            "source_patients": 3,
            "target_patients": 3,
            "geometry": {"rows": 24, "columns": 24, "detector_spacing_mm": [16.0, 16.0]},
        }
    )
    chosen = None
    for turn in ("first", "second"):
        data, run = tmp_path / f"data-{turn}", tmp_path / turn
        assert medi2i.write_phantom_dataset(config, data) == {"drr": 3, "xray": 3, "truth": 3}
        settings = medi2i.choose_config("histogram", None, ["evaluation.feature_size=64"], "cpu")
        chosen = chosen or settings
        assert settings == chosen
        folders = {"source": str(data / "drr"), "target": str(data / "xray")}
        settings = medi2i.AdaptConfig.model_validate(settings.model_dump() | folders)
        assert medi2i.describe_job(settings, out=run, device="cpu")["writes"]["images"] == 3
        result = medi2i.adapt(settings, out=run, device="cpu")
        assert isinstance(result, medi2i.AdaptResult)
        assert medi2i.load_run_config(run) == settings
        assert medi2i.translate(run, data / "drr", out=tmp_path / f"out-{turn}", device="cpu") == []
        image = next((tmp_path / f"out-{turn}" / "images").iterdir())
        assert medi2i.read_radiograph(image).pixels.shape == (24, 24)
        assert medi2i.write_report(run) == run / "report.html"
