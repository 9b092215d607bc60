"""Section ``[access]`` of the configuration."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from vigie.platform.config.section import ConfigSection, Suspicion

DEVELOPMENT_ISSUER = "vigie-development"


class AccessConfig(ConfigSection):
    """Whose tokens are accepted, and who is designated."""

    people_file: Path = Field(
        default=Path("people.toml"),
        description="Agencies, people, roles and zones (TOML); followed when it changes.",
    )
    audience: str = Field(
        default="vigie", min_length=1, description="What `aud` of a token must name."
    )
    development_issuer: bool = Field(
        default=True,
        description="Accept tokens of the embedded issuer (`vigie token create`). Its key lies in "
        "the data directory: who can read it can be anybody. It also signs the tokens by which "
        "the services of one process call each other.",
    )
    issuer_key_file: Path | None = Field(
        default=None,
        description="Key of the embedded issuer; services apart that use it need the same. Unset: "
        "`access/issuer-key.json` in the data directory. Made when it is not there.",
    )
    jwks_file: Path | None = Field(
        default=None,
        description="Public keys of an identity provider (JSON Web Key Set); followed when it "
        "changes.",
    )
    jwks_issuer: str = Field(
        default="", description="`iss` of the identity provider's tokens; needed with jwks_file."
    )
    leeway_seconds: float = Field(
        default=5.0,
        ge=0,
        le=60,
        description="How far the clock of an identity provider may be ahead.",
    )
    reload_seconds: float = Field(
        default=1.0,
        gt=0,
        le=2.0,
        description="How often the people file and `jwks_file` are looked at.",
    )

    @model_validator(mode="after")
    def _issuers_are_whole(self) -> Self:
        if (self.jwks_file is None) != (not self.jwks_issuer):
            raise ValueError("jwks_file and jwks_issuer go together; give both or neither")
        if self.jwks_issuer == DEVELOPMENT_ISSUER:
            raise ValueError(
                f"jwks_issuer: {DEVELOPMENT_ISSUER} is the embedded issuer's name; "
                "give the name the identity provider writes into iss"
            )
        if self.jwks_file is None and not self.development_issuer:
            raise ValueError(
                "nobody's tokens would be accepted; give jwks_file and jwks_issuer, or set "
                "development_issuer = true"
            )
        return self

    def suspicions(self) -> Sequence[Suspicion]:
        """See `ConfigSection.suspicions`."""
        if self.development_issuer and self.jwks_file is not None:
            message = "tokens of the embedded issuer are accepted beside the identity provider's"
            remedy = "set development_issuer = false, unless this is a trial"
            return (Suspicion("development_issuer", message, remedy),)
        return ()
