import numpy as np
import pytest
import torch
from tiny_data import load_png, make_scene, save_png

from medi2i.adapters import DomainAdapter
from medi2i.data.dataset_folder import discover
from medi2i.data.manifest import inspect_folder
from medi2i.data.settings import DataConfig
from medi2i.evaluation import Domains
from medi2i.image import IntensityConfig, IntensityMap
from medi2i.preview import preview_writer


class Negative(DomainAdapter):
    """Inverts; `bidirectional` decides whether there is a way back to show."""

    def __init__(self, bidirectional: bool = True) -> None:
        super().__init__()
        self.anything = torch.nn.Parameter(torch.zeros(1))
        self.bidirectional = bidirectional  # type: ignore[misc]

    def translate(self, image, *, direction, valid=None, style=None, attributes=None):
        return -image


def make_domains(folder, shapes: dict[str, list[tuple[int, int]]], working_size: int | None) -> Domains:
    rows = {}
    for domain, matrices in shapes.items():
        for number, matrix in enumerate(matrices):
            save_png(folder / domain / f"{number}.png", make_scene(number, matrix))
        found = discover(folder / domain)
        inspected, _ = inspect_folder(found, domain, IntensityConfig(), salt=b"")
        rows[domain] = [type(row)(**{**vars(row), "split": "validation"}) for row in inspected]
    maps = {"source": IntensityMap(0, 1), "target": IntensityMap(0, 1)}
    config = DataConfig(working_size=working_size)
    return Domains(rows["source"], rows["target"], folder / "source", folder / "target", maps, config)


@pytest.mark.parametrize(("bidirectional", "rows"), [(True, 4), (False, 3)])
def test_the_grid_has_a_row_for_each_kind_and_a_column_for_each_image(tmp_path, bidirectional, rows):
    domains = make_domains(tmp_path, {"source": [(32, 32)] * 2, "target": [(32, 32)] * 2}, 32)
    preview_writer(domains, tmp_path / "previews")(Negative(bidirectional), 12)
    grid = load_png(tmp_path / "previews" / "step-0000012.png").astype(int)
    assert grid.shape == (rows * 32, 2 * 32)
    np.testing.assert_allclose(grid[:32] + grid[32:64], 255, atol=1)
    if bidirectional:
        np.testing.assert_allclose(grid[64:96], grid[:32], atol=1)


@pytest.mark.parametrize("working_size", [None, 32])
def test_domains_of_other_sizes_and_counts_fit_one_grid(tmp_path, working_size):
    shapes = {"source": [(20, 30), (40, 18), (33, 33)], "target": [(50, 40)]}
    domains = make_domains(tmp_path, shapes, working_size)
    preview_writer(domains, tmp_path / "previews")(Negative(), 0)
    side = 32 if working_size else 52  # the longest side, 50, as a multiple of 4
    grid = load_png(tmp_path / "previews" / "step-0000000.png")
    assert grid.shape == (4 * side, 3 * side)
    assert (grid[3 * side :, side:] == 0).all()  # one target image only


def test_more_than_six_images_are_not_shown(tmp_path):
    domains = make_domains(tmp_path, {"source": [(32, 32)] * 8, "target": [(32, 32)] * 7}, 32)
    preview_writer(domains, tmp_path / "previews")(Negative(), 0)
    assert load_png(tmp_path / "previews" / "step-0000000.png").shape == (4 * 32, 6 * 32)
