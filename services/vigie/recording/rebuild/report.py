"""What a rebuild of the index found."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class ReindexReport:
    """What was found in the bucket.

    Attributes:
        listed: segments that the timeline was made from.
        segments: rows written.
        run_ends: span end objects.
        parsed: segments whose attributes were missing and whose content was read instead.
        pending: hours whose segments the index still has no rows of.
        refused: key -> why an object could not be indexed (not ours, damaged, in conflict).
    """

    listed: int = 0
    segments: int = 0
    run_ends: int = 0
    parsed: int = 0
    pending: int = 0
    refused: dict[str, str] = field(default_factory=dict)
