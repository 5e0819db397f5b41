"""The exception tree: every error names what it is about, what was found, what was expected and what to do.

Exit codes of the command line are an attribute of the error, so that a new error can't forget its own:
0 done, 1 other failure, 2 usage, 3 done with skipped inputs, 4 nothing usable, 5 interrupted.
"""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """What the process returns to the shell."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    SKIPPED_INPUTS = 3
    NOTHING_USABLE = 4
    INTERRUPTED = 5


class Medi2iError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        subject: file, folder, option or key the error is about.
        found: what was there.
        expected: what should have been there.
        remedy: what the user can do.
    """

    exit_code = ExitCode.FAILED

    def __init__(self, subject: str | Path, *, found: str, expected: str, remedy: str) -> None:
        self.subject = str(subject)
        self.found = found
        self.expected = expected
        self.remedy = remedy
        super().__init__(f"{subject}: {found}; expected {expected}; {remedy}")

    def __reduce__(self) -> tuple[object, ...]:
        # data-loader workers send exceptions through pickle, which calls __init__ with self.args
        return (_rebuild, (type(self), self.subject, self.found, self.expected, self.remedy))


def _rebuild(kind: type[Medi2iError], subject: str, found: str, expected: str, remedy: str) -> Medi2iError:
    return kind(subject, found=found, expected=expected, remedy=remedy)


class UsageError(Medi2iError):
    """The request itself can't be carried out: an option, a path or a combination is wrong."""

    exit_code = ExitCode.USAGE


class ConfigError(UsageError):
    """A configuration file or override holds an unknown key or an impossible value."""


class OutputExistsError(UsageError):
    """The output folder holds something that a new run would destroy or mix with."""


class SameDomainError(UsageError):
    """Source and target domain are the same files."""


class InputError(Medi2iError):
    """An input can't be used as it is."""


class UnreadableImageError(InputError):
    """A file is an image by name or content and can't be decoded, or is no projection radiograph."""


class MaskMismatchError(InputError):
    """A mask doesn't fit its image or the structure names of its data set."""


class DatasetFolderError(InputError):
    """`dataset.json`, `views.json` or `patients.csv` contradict the folder or their schema."""


class UnusableVolumeError(InputError):
    """A CT can't be rendered: it isn't in Hounsfield units, or its slices don't make one regular volume."""


class EmptyProjectionError(InputError):
    """A view shows nothing of the patient."""


class SplitLeakError(InputError):
    """One patient would be on both sides of a split."""


class NothingUsableError(Medi2iError):
    """A folder holds no image that can be used."""

    exit_code = ExitCode.NOTHING_USABLE


class CheckpointError(Medi2iError):
    """A checkpoint is missing, damaged, or of another method or shape."""


class ExportMismatchError(Medi2iError):
    """An exported network gives other images than the run it was made from; nothing of it is kept."""


class DiskFullError(Medi2iError):
    """Writing failed because the device or the quota is full."""


class NonFiniteLossError(Medi2iError):
    """A loss became NaN or infinite; the last good checkpoint is kept."""


class CollapsedTrainingError(Medi2iError):
    """A training has settled in a trivial solution, in which more steps teach nothing."""


class EnvironmentProblemError(Medi2iError):
    """The machine or working directory keeps a library from working."""


class InterruptedRunError(Medi2iError):
    """Ctrl-C or SIGTERM arrived; what was done is saved and can be resumed."""

    exit_code = ExitCode.INTERRUPTED
