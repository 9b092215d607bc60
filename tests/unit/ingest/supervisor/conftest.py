from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ingest_module_support import Ingest, opened


@pytest.fixture
async def ingest(tmp_path: Path) -> AsyncIterator[Ingest]:
    async with opened(tmp_path) as running:
        yield running
