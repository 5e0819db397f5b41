import pickle
from pathlib import Path

import pytest

from medi2i import errors
from medi2i.errors import ExitCode, MaskMismatchError, Medi2iError


def every_error(kind: type[Medi2iError] = Medi2iError) -> list[type[Medi2iError]]:
    return [kind, *(leaf for child in kind.__subclasses__() for leaf in every_error(child))]


def test_a_message_names_subject_found_expected_and_remedy():
    error = MaskMismatchError(Path("masks/a.nii.gz"), found="8 x 8", expected="8 x 9", remedy="resample it")
    assert str(error) == "masks/a.nii.gz: 8 x 8; expected 8 x 9; resample it"


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_an_error_survives_the_way_from_a_worker_process(kind):
    error = kind("a.png", found="b", expected="c", remedy="d")
    arrived = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(arrived) is kind
    assert (str(arrived), arrived.remedy) == (str(error), "d")


def test_exit_codes_are_the_documented_ones():
    codes = {
        errors.Medi2iError: 1,
        errors.UnreadableImageError: 1,
        errors.MaskMismatchError: 1,
        errors.DatasetFolderError: 1,
        errors.CheckpointError: 1,
        errors.UsageError: 2,
        errors.ConfigError: 2,
        errors.OutputExistsError: 2,
        errors.SameDomainError: 2,
        errors.NothingUsableError: 4,
        errors.InterruptedRunError: 5,
    }
    assert {kind: int(kind.exit_code) for kind in codes} == codes
    assert (ExitCode.DONE, ExitCode.SKIPPED_INPUTS) == (0, 3)
