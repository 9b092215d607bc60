import pytest
from pydantic import ValidationError

from vigie.platform.config import ConfigSection
from vigie.recording.config import RecordingConfig
from vigie.registry.config import RegistryConfig


@pytest.mark.parametrize("section", [RecordingConfig, RegistryConfig])
def test_the_time_zone_of_the_law_must_exist(section: type[ConfigSection]) -> None:
    section.model_validate({"legal_time_zone": "America/Cayenne"})
    for name in ("Mars/Olympus", "../Paris", ""):
        with pytest.raises(ValidationError, match="no time zone is called"):
            section.model_validate({"legal_time_zone": name})
