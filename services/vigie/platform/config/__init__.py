"""Configuration: one TOML file and the environment, a section a module, strict."""

from vigie.platform.config.loader import Config, ConfigError, load_config
from vigie.platform.config.reference import reference, render
from vigie.platform.config.secret import Secret
from vigie.platform.config.section import ConfigSection, Suspicion
from vigie.platform.config.source import Problem
from vigie.platform.config.timezone import TimeZoneName

__all__ = [
    "Config",
    "ConfigError",
    "ConfigSection",
    "Problem",
    "Secret",
    "Suspicion",
    "TimeZoneName",
    "load_config",
    "reference",
    "render",
]
