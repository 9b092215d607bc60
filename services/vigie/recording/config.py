"""The section of recording in the configuration, ``[recording]``."""

from collections.abc import Sequence
from typing import Final

from pydantic import Field

from vigie.platform.config import ConfigSection, Suspicion, TimeZoneName

_DAY_SECONDS: Final = 86_400


class RecordingConfig(ConfigSection):
    """What an operator may set."""

    legal_time_zone: TimeZoneName = Field(
        default="Europe/Paris",
        description="Time zone in which the law counts days and months of retention (IANA name). "
        "The month is counted in UTC as well, and the earlier end counts.",
    )
    retention_interval_seconds: float = Field(
        default=3600,
        ge=1,
        le=_DAY_SECONDS,
        description="How often retention runs, in seconds. Footage is destroyed by the round "
        "before its time ends, hence up to this much early and never late.",
    )
    retention_enabled: bool = Field(
        default=True,
        description="Whether retention destroys anything. Off only for investigations of the "
        "installation itself: the law's limit then is nobody's but yours.",
    )
    status_stale_seconds: float = Field(
        default=30,
        ge=1,
        le=600,
        description="A stream status older than this no longer vouches for what is not stored.",
    )
    pending_settle_seconds: float = Field(
        default=900,
        ge=1,
        description="How long the last footage of a camera that has stopped recording may take to "
        "be stored before its absence is told as a gap, in seconds.",
    )
    cache_bytes: int = Field(
        default=64 << 20,
        ge=1 << 20,
        description="Memory for what is known of recently read segments (never media), in bytes.",
    )
    verify_before_play: bool = Field(
        default=True,
        description="Hash the whole of an object before anything of it is played: about 10 ms for "
        "30 s at 4 Mbit/s. Off, altered bytes inside a picture are found by `vigie fsck --deep` "
        "and by evidence only.",
    )
    snapshot_concurrency: int = Field(
        default=2, ge=1, le=64, description="Stills that are decoded at the same time."
    )

    def suspicions(self) -> Sequence[Suspicion]:
        """See `ConfigSection.suspicions`."""
        found: list[Suspicion] = []
        if not self.retention_enabled:
            message = "footage is kept beyond the month that the law allows"
            found.append(Suspicion("retention_enabled", message, "retention_enabled = true"))
        if not self.verify_before_play:
            message = "footage that was altered on the disk may be played"
            found.append(Suspicion("verify_before_play", message, "verify_before_play = true"))
        return found
