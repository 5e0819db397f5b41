import pytest

from medi2i.errors import CheckpointError
from medi2i.report import describe


def set_distance(results, row, value):
    results["distance_groups"][row]["all"] = value


def test_a_good_run_is_said_to_be_nearer_with_structure_kept(results):
    verdict, what, distance, structure, masks, *cautions = describe(results)
    assert verdict == (
        "Nearer to the target than doing nothing and than histogram matching, with structure kept."
    )
    assert what == (
        "240 source images (120 patients) were translated by cyclegan towards the look of 400 target images "
        "(200 patients). It was trained on 170 source and 290 target images in 1,500 steps. Distances are to "
        "the 100 target images held out for testing."
    )
    # (1 - 0) / (4 - 0) and (1.6 - 0) / (4 - 0)
    assert "1.00 after translation and 4.00 when nothing is done" in distance
    assert "stands at 0.25; histogram matching stands at 0.40" in distance
    assert "is 0.91 (5th percentile 0.87;" in structure
    assert "within 0.31 mm" in structure and "95 % within 1.90 mm" in structure
    assert "measures 0.20 and 1.10 mm by its change of tone alone" in structure
    assert "fell below" not in structure
    assert masks == "240 masks carried along, byte for byte the same."
    assert len(cautions) == 1
    assert "Distance never ranks methods" in cautions[0]
    assert "That is measured by medi2i evaluate RUN --target-labels DIR." in cautions[0]


def test_the_position_is_measured_from_the_floor(results):
    results["floors"]["all"]["mean"] = 0.4
    # (1 - 0.4) / (4 - 0.4) = 1/6 and (1.6 - 0.4) / 3.6 = 1/3
    assert "stands at 0.17; histogram matching stands at 0.33" in describe(results)[2]


def test_histogram_matching_that_got_nearer_is_said_plainly(results):
    set_distance(results, "histogram", 0.5)
    words = describe(results)
    assert words[0] == (
        "Nearer to the target than doing nothing, but histogram matching got nearer still; structure kept."
    )
    assert "Histogram matching got nearer than the translation." in words[2]


def test_a_difference_smaller_than_the_floors_spread_is_no_win(results):
    set_distance(results, "histogram", 1.05)
    words = describe(results)
    assert "but no nearer than histogram matching" in words[0]
    assert "differ by less than sets of real images do" in words[2]


@pytest.mark.parametrize(("distance", "place"), [(3.95, "no nearer to"), (5.0, "further from")])
def test_a_translation_no_better_than_identity_is_no_gain(results, distance, place):
    set_distance(results, "translated", distance)
    assert describe(results)[0] == (
        f"No gain: structure was kept, but the images are {place} the target than without translation."
    )


def test_lost_structure_comes_before_any_praise_of_distance(results):
    results["structure"]["translated"]["gradient_correlation"]["median"] = 0.62
    assert describe(results)[0] == (
        "Structure was lost: the median gradient correlation, 0.62, is below 0.75."
    )


def test_images_below_the_limit_are_counted(results):
    for image, value in zip(results["images"], (0.5, 0.74, 0.75), strict=False):
        image["gradient_correlation"] = value
    results["images"][3]["gradient_correlation"] = None
    results["structure"]["translated"]["gradient_correlation"]["p5"] = 0.74
    words = describe(results)
    assert words[0].endswith("with structure kept in most images.")
    # 2 of the 59 defined: 3.4 %
    assert "2 of 59 images (3.4 %) fell below 0.75." in words[3]


def test_flagged_images_make_a_run_unusable(results):
    results["images"][0]["flags"] = ["inverted"]
    results["images"][1]["flags"] = ["constant", "empty"]
    results["flags"] |= {"constant": 1, "inverted": 1, "empty": 1}
    assert describe(results)[0] == (
        "Not usable as it is: 2 translated images came out constant, inverted or empty."
    )


def test_domains_that_look_alike_give_no_position(results):
    set_distance(results, "identity", 0.15)
    set_distance(results, "translated", 0.1)
    words = describe(results)
    assert words[0] == "Structure was kept; there was no measurable gap between the domains to close."
    assert "there is no scale to place it on" in words[2]
    assert "stands at" not in words[2]


def test_undefined_distances_and_structure_are_said(results):
    set_distance(results, "translated", None)
    results["structure"]["translated"]["gradient_correlation"]["median"] = None
    words = describe(results)
    assert words[0].startswith("No verdict")
    assert words[2].startswith("The distance to the target is undefined")
    assert words[3].startswith("Gradient correlation is undefined")


def test_an_unmeasured_floor_counts_as_zero_and_is_a_caution(results):
    results["floors"]["all"] |= {"mean": None, "sd": None}
    words = describe(results)
    assert "stands at 0.25" in words[2]
    assert any(word.startswith("The floor (real against real) could not be measured") for word in words)


def test_a_run_of_histogram_matching_is_not_compared_with_itself(results):
    results["run"] |= {"method": "histogram", "steps": 0, "best_step": 0}
    words = describe(results)
    assert words[0] == "Nearer to the target than doing nothing, with structure kept."
    assert "translated by histogram matching" in words[1]
    assert "Nothing was trained." in words[1]
    assert words[2].endswith("stands at 0.25.")


def test_true_images_give_error_and_ratio(results, truth):
    results["truth"] = truth
    assert describe(results)[5] == (
        "Against the true target image of 15 held-out source images, the mean absolute error is 5.0 % of the "
        "range, smaller than the 20.0 % of doing nothing (ratio 0.25)."
    )


def test_a_larger_error_against_the_truth_spoils_the_verdict(results, truth):
    truth["translated"]["mean_absolute_error"]["mean"]["estimate"] = 0.3
    results["truth"] = truth
    words = describe(results)
    assert words[0].endswith("Yet against the true images it is no better than doing nothing.")
    assert "no smaller than" in words[5]
    assert "(ratio 1.50)" in words[5]


def test_masks_that_did_not_come_through_are_counted(results):
    results["masks"] = {"in_source": 240, "carried": 239, "identical": 238}
    assert describe(results)[4] == "239 of 240 masks carried along, 238 byte for byte the same."


def test_every_warning_is_repeated_and_weak_data_are_named(results):
    results["warnings"] = ["source: split by image"]
    results["data"]["source"] |= {"n_patients": 1, "n_skipped": 1}
    results["data"]["target"] |= {"n_patients": None, "patients_unknown": True, "n_skipped": 3}
    results["data"]["target"]["splits"]["test"] = 12
    cautions = " ".join(describe(results)[5:])
    assert "source: split by image" in cautions
    assert "The source is a single patient" in cautions
    assert "1 source image could not be used and was skipped" in cautions
    assert "Patients of the target are unknown" in cautions
    assert "3 target images could not be used and were skipped" in cautions
    assert "Exploratory: 12 target images held out for testing, fewer than 50." in cautions


def test_millimetres_and_pixels_are_never_summed_up_together(results):
    results["images"][0]["edge_unit"] = "px"
    words = describe(results)
    assert "half of the edges" not in words[3]
    assert any(word.startswith("Spacing is known for some images only") for word in words)


def test_incomplete_results_are_refused_with_the_missing_key(results):
    del results["floors"]
    with pytest.raises(CheckpointError, match="floors: Field required"):
        describe(results)
