"""The reader study in a report: its sentence and its table."""

from __future__ import annotations

from medi2i.report.schema.reader_study import ReaderStudy
from medi2i.report.tables import Row, Section, Table
from medi2i.report.wording import UNDEFINED, counted

_EXPERIENCE = {"not said": UNDEFINED}


def describe_readers(study: ReaderStudy) -> str:
    """What the readers' answers come to, in one or two sentences."""
    share = study.share
    if share.estimate is None:
        return "No reader's answers count: see the notes below."
    taken = (
        f"Shown a translated image beside a real film, {counted(len(study.readers), 'reader')} took it for "
    )
    taken += f"the film in {_percent(share.estimate)} of the pairs"
    if share.low is None or share.high is None:
        return f"{taken}. Guessing is 50 %. One reader gives no interval over readers."
    interval = f"{taken} (95 % interval over readers {_percent(share.low)} to {_percent(share.high)})."
    if share.high < 0.5:
        return f"{interval} Guessing is 50 %: readers tell them apart."
    if share.low > 0.5:
        return f"{interval} Guessing is 50 %: the translated images look more like films than films do."
    return (
        f"{interval} Guessing is 50 %, and the interval holds it: no difference was shown, which proves none."
    )


def reader_table(study: ReaderStudy) -> Table:
    """Share fooled of each reader, and over readers."""
    rows = [
        Row(
            reader.reader,
            (
                _EXPERIENCE.get(reader.experience, reader.experience),
                f"{reader.fooled} of {reader.trials}",
                _percent(reader.share),
                f"{_percent(reader.low)} to {_percent(reader.high)}",
                _percent(reader.chose_first),
            ),
        )
        for reader in study.readers
    ]
    share = study.share
    interval = (
        UNDEFINED
        if share.low is None or share.high is None
        else f"{_percent(share.low)} to {_percent(share.high)}"
    )
    estimate = UNDEFINED if share.estimate is None else _percent(share.estimate)
    rows.append(Row("over readers (mean)", (UNDEFINED, UNDEFINED, estimate, interval, UNDEFINED), own=True))
    columns = ("Reader", "Reads films", "Fooled", "Share", "95 % interval", "Chose the first")
    return Table(columns, (Section("", tuple(rows)),), _notes(study))


def _notes(study: ReaderStudy) -> tuple[str, ...]:
    time = "as long as the reader liked" if study.seconds is None else f"{study.seconds:g} s a picture"
    source, target = (study.patients.get(domain) for domain in ("source", "target"))
    shown = [
        "patients unknown" if number is None else counted(number, "patient") for number in (source, target)
    ]
    notes = [
        f"{counted(study.trials, 'pair')} a reader, {time}; translated images of {shown[0]}, films of "
        f"{shown[1]}. Intervals are Wilson's; over readers, the reader is the unit. They hold for these "
        "images.",
        f"Attention checks: {study.checks} a reader; one wrong answer excludes.",
    ]
    notes += [f"Excluded: {reader.reader}, {reader.reason}." for reader in study.excluded]
    return tuple(notes)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
