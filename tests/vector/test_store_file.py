"""The file that names the shard of a store on Qdrant's engine; a checkout can bring one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compozy.drivers.qdrant_collection import CollectionOptions
from compozy.drivers.qdrant_shard import STORE, read_store
from compozy.errors import DriverError


@pytest.mark.parametrize("shard", ["..", "../other", "/tmp/other", "."])
def test_store_file_outside_its_directory_is_refused(tmp_path: Path, shard: str) -> None:
    stated: dict[str, object] = {"format": 1, "shard": "shard-1", "dimension": 2, "metric": "cosine"}
    (tmp_path / STORE).write_text(json.dumps(stated), encoding="utf-8")
    assert read_store(tmp_path, CollectionOptions()) == {**stated, "records": 0, "changes": 0}
    (tmp_path / STORE).write_text(json.dumps({**stated, "shard": shard}), encoding="utf-8")
    with pytest.raises(DriverError, match="cannot be read"):
        read_store(tmp_path, CollectionOptions())
