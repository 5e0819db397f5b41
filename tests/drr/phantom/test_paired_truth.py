"""DRR and film of one pose show the same anatomy at the same pixels."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from medi2i.config import find_preset, load_config
from medi2i.drr.phantom import PhantomConfig
from medi2i.drr.phantom.views import phantom_patient, phantom_views
from medi2i.metrics.deformation import measure_deformation


@pytest.fixture(scope="module")
def pairs():
    """Views of two patients as the demo makes them, and where their films show anatomy."""
    config = load_config(find_preset("default", "phantom"), PhantomConfig)
    found = []
    for number in (0, 1):
        for view in phantom_views(config, number, phantom_patient(config, number)):
            shown = view.film.exposed & ~view.film.annotation
            found.append((view, shown.numpy() & view.projection.valid))
    return found


def test_nothing_moved_between_drr_and_film(pairs):
    for view, valid in pairs:
        drr, film = view.projection.line_integral, view.film.brightness().numpy()
        found = measure_deformation(drr, film, spacing_mm=None, valid=valid)
        assert found.coverage > 0.15
        assert found.p50_px < 0.15
        assert found.p95_px < 0.3


def test_a_film_moved_by_half_a_pixel_is_found_out(pairs):
    view, valid = pairs[0]
    film = view.film.brightness().numpy().astype(np.float64)
    moved = ndimage.shift(film, (0.0, 0.5), order=3, mode="nearest")
    found = measure_deformation(view.projection.line_integral, moved, spacing_mm=None, valid=valid)
    assert found.p50_px == pytest.approx(0.5, abs=0.15)
    assert found.p95_px > 0.5


def test_the_films_edges_are_where_the_masks_end(pairs):
    """The steepest place across the lungs' border is the same in DRR and film, within a pixel of the mask."""
    for view, valid in pairs:
        structures = view.projection.structures
        planes = [structures.index(name) for name in ("left_lung", "right_lung")]
        lungs = (view.projection.path_mm[planes] > 1.0).any(axis=0)
        inside = ndimage.distance_transform_edt(lungs) - ndimage.distance_transform_edt(~lungs)
        steepest = []
        for image in (view.projection.line_integral, view.film.brightness().numpy()):
            slope = ndimage.gaussian_gradient_magnitude(torch.as_tensor(image).double().numpy(), 0.7)
            # pixels whose centres lie from k - 1 to k px inside the border
            profile = [np.median(slope[valid & (np.ceil(inside) == k)]) for k in range(-6, 7) if k]
            steepest.append([k for k in range(-6, 7) if k][int(np.argmax(profile))])
        assert steepest[0] == steepest[1]
        assert abs(steepest[1]) <= 2
