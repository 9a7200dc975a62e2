"""What `vlm2vec doctor` finds: what is installed, what a model would run on, and which files can be read."""

from vlm2vec.doctor.report import Problem, examine

__all__ = ["Problem", "examine"]
