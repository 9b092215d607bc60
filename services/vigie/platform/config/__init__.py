"""Configuration: one TOML file and the environment, a section a module, strict."""

from vigie.platform.config.section import ConfigSection, Suspicion

__all__ = ["ConfigSection", "Suspicion"]
