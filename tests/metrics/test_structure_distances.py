import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from medi2i.losses import (
    AttenuationConfig,
    EdgeConfig,
    LNCCConfig,
    LSeSimConfig,
    MINDConfig,
    MSSSIMConfig,
    MutualInformationConfig,
    NGFConfig,
    PatchNCEConfig,
    TranslationPair,
)
from medi2i.metrics import structure_distances as measured
from tests.similarity.pairs import anatomy, half_valid, warped

TWINS = (
    (measured.ngf_distance, NGFConfig(), 0),
    (measured.local_correlation, LNCCConfig(), 1),
    (measured.mind_distance, MINDConfig(), 0),
    (measured.lost_information, MutualInformationConfig(), 0),
    (measured.self_similarity_distance, LSeSimConfig(), 0),
    (measured.patch_nce_distance, PatchNCEConfig(), 0),
    (measured.edge_distance, EdgeConfig(), 0),
    (measured.attenuation_distance, AttenuationConfig(), 0),
    (measured.multiscale_ssim, MSSSIMConfig(), 1),
)
each_twin = pytest.mark.parametrize(("metric", "settings", "best"), TWINS, ids=lambda value: str(value)[:20])


@each_twin
def test_a_metric_measures_what_its_loss_minimises(metric, settings, best):
    x, y, valid = anatomy(96), warped(anatomy(96), 2), half_valid(anatomy(96))
    arrays = [image[0, 0].numpy() for image in (x, y)]
    value = metric(*arrays, valid[0, 0].numpy() > 0)
    loss = settings.build()(TranslationPair(x, y, None, valid)).item()
    assert_close(abs(best - value), loss, rtol=1e-5, atol=1e-7)
    assert_close(metric(arrays[0], arrays[0]), float(best), rtol=0, atol=1e-5)


@each_twin
def test_without_a_valid_pixel_a_metric_is_undefined(metric, settings, best):
    image = anatomy(80)[0, 0].numpy()
    value = metric(image, image, np.zeros_like(image, dtype=bool))
    if metric is measured.mind_distance:  # says so
        assert value == 0
    else:
        assert math.isnan(value)


def test_what_is_measured_does_not_change_its_arguments():
    image = torch.zeros(80, 80).numpy()
    before = image.copy()
    for metric, _, _ in TWINS:
        metric(image, image)
    np.testing.assert_array_equal(image, before)
