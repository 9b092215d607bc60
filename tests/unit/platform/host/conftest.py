import pytest

from vigie.platform.logging import LoggingConfig, configure_logging


@pytest.fixture(autouse=True)
def _plain_logs() -> None:
    # structlog's default renders local variables with every traceback, which takes seconds.
    configure_logging(LoggingConfig(level="warning"))
