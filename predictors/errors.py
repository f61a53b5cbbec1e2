"""What can be wrong with the numbers handed to a predictor; each error says what to do next.

`predictors` does not know the product, so these stand beside, not under, the product's own tree of errors;
the services wrap them.
"""

from __future__ import annotations


class PredictorError(Exception):
    """A predictor could not do what it was asked to do."""


class FrameError(PredictorError, ValueError):
    """A frame does not have the columns, types or keys that `predictors.snapshot` asks for."""


class NaiveFrameError(FrameError):
    """A time column carries no zone; the snapshot takes instants in UTC only."""


class NotEnoughDataError(PredictorError, ValueError):
    """There is too little to learn from: no rows, or only one class."""


class FeatureMismatchError(PredictorError, ValueError):
    """The frame to be scored lacks columns that the model was trained on."""


class LockedError(PredictorError):
    """The predictor is locked until more outcomes have been observed."""


class ModelFileError(PredictorError):
    """A model file is missing, altered, or was written by another version of the libraries."""
