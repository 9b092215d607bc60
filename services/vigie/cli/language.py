"""French and English: what people read follows their locale."""

import os


def speaks_french() -> bool:
    """Whether the locale of the environment is French (LC_ALL, LC_MESSAGES, LANG, in order)."""
    for name in ("VIGIE_LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        value = os.environ.get(name, "")
        if value:
            return value.lower().startswith("fr")
    return False


def tr(english: str, french: str) -> str:
    """The text in the language of the reader."""
    return french if speaks_french() else english
