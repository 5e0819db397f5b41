from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from medi2i.data.attributes import AttributesConfig
from medi2i.data.labelled import LabelledCrops, join_batches, labelled_loader
from medi2i.data.settings import FramingConfig
from medi2i.errors import NothingUsableError
from tests.data.images import make_config, make_image
from tests.evaluation.rows import make_row

_TOLD = AttributesConfig(
    groups={"view": ("PA", "AP")},
    sensible=(("source", "PA"), ("target", "PA"), ("target", "AP")),
)
_VIEWS = {"source": ["PA", "PA", None], "target": ["PA", "AP", "AP", "AP", None, "AP", "AP"]}


def level(domain, number):
    """Brightness that tells an image from the others."""
    return (number + 1) / 10 * (1 if domain == "target" else -1)


def make_crops(views=_VIEWS, *, told=_TOLD, groups=2, images=3, seed=0, alternate=False, **settings):
    rows = {
        domain: [
            replace(make_row(n, attributes={"view": v} if v else {}), domain=domain)
            for n, v in enumerate(views[domain])
        ]
        for domain in views
    }
    decoded = {
        domain: [make_image(np.full((36, 36), level(domain, n))) for n in range(len(views[domain]))]
        for domain in views
    }
    config = make_config(**settings)
    options = {"groups": groups, "images": images, "seed": seed, "alternate": alternate}
    return LabelledCrops(decoded, rows, told, config, **options)


def drawn(batch):
    """Domain and number of each image of a batch."""
    values = [round(float(image.mean()) * 10) for image in batch["labelled_image"]]
    return [("target" if value > 0 else "source", abs(value) - 1) for value in values]


def test_a_batch_has_groups_of_one_class_each():
    crops = make_crops()
    for number in range(12):
        batch = crops[number]
        assert batch["labelled_image"].shape == batch["labelled_valid"].shape == (6, 1, 32, 32)
        assert batch["labelled_group"].tolist() == [0, 0, 0, 1, 1, 1]
        described = [{"domain": domain, "view": _VIEWS[domain][place]} for domain, place in drawn(batch)]
        assert [_TOLD.describe(code) for code in batch["labelled_attributes"]] == described
        first, second = (
            {tuple(code.tolist()) for code in half} for half in batch["labelled_attributes"].chunk(2)
        )
        assert len(first) == len(second) == 1
        assert first != second


def test_images_come_twice_only_where_a_class_has_too_few():
    for number in range(12):
        counts = Counter(drawn(make_crops()[number]))
        assert ("source", 2) not in counts  # of unknown view
        for (domain, place), count in counts.items():
            assert count == 1 or _VIEWS[domain][place] == "PA"


def test_classes_are_walked_through_so_that_rare_ones_come_as_often():
    views = {"source": ["PA", "AP"], "target": ["PA"] * 9 + ["AP"]}
    told = AttributesConfig(groups={"view": ("PA", "AP")})
    crops = make_crops(views, told=told, images=1)
    for number in range(0, 20, 2):  # four classes, two in a batch: a round has two batches
        rounds = torch.cat([crops[number]["labelled_attributes"], crops[number + 1]["labelled_attributes"]])
        assert {tuple(code) for code in rounds.tolist()} == {tuple(code) for code in told.classes().tolist()}


def test_a_batch_depends_on_seed_and_number_only():
    crops = make_crops(framing=FramingConfig())
    forward = [crops[n] for n in range(6)]
    for number in reversed(range(6)):
        assert all(value.equal(forward[number][key]) for key, value in crops[number].items())
    assert not forward[0]["labelled_image"].equal(forward[1]["labelled_image"])
    assert not make_crops(seed=1)[0]["labelled_image"].equal(make_crops(seed=0)[0]["labelled_image"])


def test_labelled_steps_alternate_unless_all_images_are_labelled():
    assert make_crops().every == 2
    assert make_crops({"source": ["PA"], "target": ["AP", "PA"]}).every == 1
    # labelled batches bring no masks: where masks are wanted, others have to come
    assert make_crops({"source": ["PA"], "target": ["AP", "PA"]}, alternate=True).every == 2


def test_there_are_no_more_groups_than_classes():
    assert make_crops(groups=4)[0]["labelled_group"].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_single_class_is_refused():
    with pytest.raises(NothingUsableError, match=r"training images of 1 class\(es\)"):
        make_crops({"source": ["PA", "PA"], "target": [None]})


def numbers(crops, rank, world, **steps):
    return list(labelled_loader(crops, rank=rank, world=world, workers=0, **steps).sampler)


def test_processes_and_a_resumed_run_share_the_batches_without_overlap():
    crops = make_crops()  # labelled in every second step
    steps = {"first": 0, "last": 5, "accumulate": 2}
    # labelled: steps 0, 2, 4, two micro-batches each, of two processes: numbers 0 to 11
    assert numbers(crops, 0, 2, **steps) == [0, 2, 4, 6, 8, 10]
    assert numbers(crops, 1, 2, **steps) == [1, 3, 5, 7, 9, 11]
    for stop in range(6):
        halves = [{"first": 0, "last": stop}, {"first": stop, "last": 5}]
        both = [n for half in halves for n in numbers(crops, 0, 2, accumulate=2, **half)]
        assert both == [0, 2, 4, 6, 8, 10]


def test_labelled_batches_join_those_of_their_step():
    unpaired = [{"source": torch.tensor(n)} for n in range(6)]
    labelled = [{"labelled_group": torch.tensor(10 + n)} for n in range(2)]
    # from step 3 on, two micro-batches a step: of steps 3, 4, 5 only 4 is labelled
    joined = list(join_batches(unpaired, labelled, first=3, accumulate=2, every=2))
    assert [int(batch["source"]) for batch in joined] == list(range(6))
    assert [int(batch.get("labelled_group", -1)) for batch in joined] == [-1, -1, 10, 11, -1, -1]


def test_workers_change_nothing_and_the_global_random_state_is_left_alone():
    crops = make_crops(framing=FramingConfig())
    torch.manual_seed(3)
    before = torch.get_rng_state()
    alone, helped = (
        list(labelled_loader(crops, first=0, last=4, accumulate=1, rank=0, world=1, workers=workers))
        for workers in (0, 1)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert len(alone) == 2
    for first, second in zip(alone, helped, strict=True):
        assert all(value.equal(second[key]) for key, value in first.items())
