"""The registry's section of the configuration, ``[registry]``."""

from collections.abc import Sequence
from typing import Final

from pydantic import Field

from vigie.platform.config import ConfigSection, Suspicion, TimeZoneName
from vigie.registry.streamuri import SCHEMES

_FILE: Final = "file"


class RegistryConfig(ConfigSection):
    """What an operator may set."""

    stream_schemes: tuple[str, ...] = Field(
        default=SCHEMES,
        description="Schemes a camera's stream address may have. `file` lets whoever may enter "
        "cameras read files of the receiving machine: for tests and demonstrations only.",
    )
    probe_timeout_seconds: float = Field(
        default=10.0, ge=1, le=60, description="How long ProbeCamera tries when it is not told."
    )
    request_memory_hours: float = Field(
        default=24.0,
        gt=0,
        le=168,
        description="How long the answer to a request_id is kept for repetitions, in hours.",
    )
    check_interval_seconds: float = Field(
        default=60.0,
        gt=0,
        le=3600,
        description="How often authorisations are looked at for their end, in seconds.",
    )

    legal_time_zone: TimeZoneName = Field(
        default="Europe/Paris",
        description="Time zone in which the law counts the five years of an authorisation (IANA "
        "name). Retention has a setting of its own, `recording.legal_time_zone`.",
    )

    def suspicions(self) -> Sequence[Suspicion]:
        """See `ConfigSection.suspicions`."""
        if _FILE not in self.stream_schemes:
            return ()
        return (
            Suspicion(
                key="stream_schemes",
                message="`file` is allowed: who may enter cameras can read files of the machine",
                remedy="leave `file` out, except for tests and demonstrations",
            ),
        )
