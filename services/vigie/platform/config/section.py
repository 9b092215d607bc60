"""What a module's section of the configuration is made of."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A combination that is allowed but probably not meant.

    Attributes:
        key: the key to look at, relative to the section, e.g. ``listen``.
        message: what is suspect and what it leads to.
        remedy: what to write instead, if it was not meant.
    """

    key: str
    message: str
    remedy: str


class ConfigSection(BaseModel):
    """One table of the configuration file, owned by one module.

    Fields carry their unit in their name and their meaning in ``Field(description=…)``: the
    reference page is generated from them. Unknown keys are refused.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False)

    def suspicions(self) -> Sequence[Suspicion]:
        """Combinations that are allowed but probably not meant."""
        return ()
