"""The commands on cameras."""

from vigie.cli.camera import life, register, table, watching
from vigie.cli.camera.common import app

__all__ = ["app", "life", "register", "table", "watching"]
