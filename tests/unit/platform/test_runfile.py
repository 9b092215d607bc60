import json
import os
from pathlib import Path

from vigie.platform.runfile import RunFile


async def test_the_file_is_there_while_it_serves_also_where_nobody_made_its_folder(
    tmp_path: Path,
) -> None:
    path = tmp_path / "data" / "run-gateway.json"
    file = RunFile(path, lambda: {"grpc": "127.0.0.1:7443"})
    await file.start()
    assert json.loads(path.read_text()) == {"process_id": os.getpid(), "grpc": "127.0.0.1:7443"}
    await file.stop(timeout_seconds=1)
    assert not path.exists()
    await file.stop(timeout_seconds=1)
