"""Errors that a person can act on.

A message holds the value, the rule and the way out; the page and the command line show it as it is. `error_class`
tells the job table what happened, and with it whether a retry makes sense.
"""

import errno


class TempoError(Exception):
    """Something a person can act on. Wrong calls by a programmer are `ValueError`."""

    error_class = "bad_input"


class MediaError(TempoError):
    """A file that cannot be used as a video. `code` is stored as the video's reason."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class FrameTimesChanged(TempoError):
    """A later decode returned other frames than the scan did; frame numbers would be wrong."""


class TimelineTooShort(TempoError):
    """With fewer than two clips there is no order to disturb."""


class VideoLost(TempoError):
    """A prompt that should hold a video holds none of its tokens."""


class OutsideVocabulary(TempoError):
    """The embedded model knows its own small vocabulary only."""


class ClipsRefused(TempoError):
    """A model that cannot be asked about several clips in one question."""


class PromptTooLong(TempoError):
    """A prompt and its answer need more tokens than the model has positions."""


class ServerRefused(TempoError):
    """A server that should answer questions: its address, the key, the model's name or its form of reply is wrong."""


class QuestionRefused(TempoError):
    """A server takes this one question or its answer not; others may go well."""


class ServerAway(TempoError):
    """A server could not be reached, or was too busy, for longer than we wait; what it said before is kept."""

    error_class = "server_away"


class ModelRefused(TempoError):
    """A model folder that is no model, of no supported family, or not safe to load."""

    error_class = "untrusted"


class TooFew(TempoError):
    """Too few videos, pairs or questions for a step."""


class HeldOutLeak(TempoError):
    """Data to train on holds videos that are kept for evaluation."""


class TooLong(TempoError):
    """A pair or example with more tokens than a run allows; it is left out by name, never cut."""


class EmptyStage(TempoError):
    """A stage of the curriculum holds fewer pairs than one step needs."""


class BadThresholds(TempoError):
    """Thresholds that cross or leave [0, 1]."""


class BadSettings(TempoError):
    """A setting of a run outside its range."""


class DatasetDrift(TempoError):
    """The data to train on is not what was frozen."""


class ReferenceMismatch(TempoError):
    """A stage began with a policy that is not its own reference: the margins would measure something else."""

    error_class = "bug"


class Diverged(TempoError):
    """The loss is no longer a finite number."""

    error_class = "diverged"


class NoSpace(TempoError):
    """The disk is full, or would be."""

    error_class = "disk_full"


class FolderTaken(TempoError):
    """An export would overwrite something that is no export."""


class BundleRefused(TempoError):
    """A bundle of a run, or its result, that is not whole, was changed, or belongs to another run."""

    error_class = "untrusted"


class Unknown(TempoError):
    """An id that nothing in the database has."""


class DatabaseBusy(TempoError):
    """Another process holds the database; nothing was lost, try again."""

    error_class = "locked"


class DatabaseRefused(TempoError):
    """A database that this version must not open."""


class NotAllowed(TempoError):
    """The person's role does not cover this."""


class LeaseLost(TempoError):
    """This process no longer owns its job and must not write."""

    error_class = "lease_lost"


class Cancelled(TempoError):
    """A person asked this job to stop; what it had is saved."""

    error_class = "cancelled"


def disk_is_full(error: Exception) -> bool:
    """Whether an error of any library means that; safetensors has one of its own, which tells the number in words."""
    full = (errno.ENOSPC, errno.EDQUOT)
    return getattr(error, "errno", None) in full or any(f"(os error {number})" in str(error) for number in full)
