"""Can readers tell translated images from real films? One offline page asks them; their files are scored."""

from medi2i.reader_study.scoring import ReaderStudyScore, score_study
from medi2i.reader_study.settings import ReaderStudyConfig
from medi2i.reader_study.study import WrittenStudy, write_study

__all__ = ["ReaderStudyConfig", "ReaderStudyScore", "WrittenStudy", "score_study", "write_study"]
