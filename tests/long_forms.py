"""How far the tests go: every day, or in their long forms.

``VIGIE_LONG_TESTS=1`` (``make test-long``) lets property tests try many more examples, kills the
product at every step, and records foreign cameras for minutes.
"""

import os
from typing import Final

LONG: Final = os.environ.get("VIGIE_LONG_TESTS") == "1"
_TIMES: Final = 50


def examples(count: int) -> int:
    """How many examples a property test tries that tries ``count`` every day."""
    return count * _TIMES if LONG else count
