"""The workflows of a project: an id that two files have is rejected, in any order of the files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from peewee import SqliteDatabase

from compozy.errors import DefinitionError
from compozy.store import Store
from compozy.workflows.catalogue import Catalogue

TEXT = "id: {id}\ntasks: [{{id: a, type: aggregate, output: x}}]\n"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    database = SqliteDatabase(str(tmp_path / "rows.db"))
    found = Store(database)
    found.migrate()
    yield found
    database.close()


def test_ambiguous_id_is_an_error_with_both_files(store: Store, tmp_path: Path) -> None:
    (tmp_path / "workflows").mkdir()
    for name in ("one", "two"):
        (tmp_path / "workflows" / f"{name}.yaml").write_text(TEXT.format(id="same"))
    (tmp_path / "workflows" / "other.yaml").write_text(TEXT.format(id="other"))
    catalogue = Catalogue(store, str(tmp_path))
    with pytest.raises(DefinitionError, match=r"two\.yaml:1:5: id \"same\" is also the one of .*one\.yaml"):
        catalogue.definition("same")
    assert catalogue.definition("other").id == "other"
    (tmp_path / "workflows" / "two.yaml").unlink()
    assert catalogue.definition("same").file.endswith("one.yaml")


def test_listed_file_within_the_folder_is_read_once(store: Store, tmp_path: Path) -> None:
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "one.yaml").write_text(TEXT.format(id="same"))
    catalogue = Catalogue(store, str(tmp_path), ["workflows/one.yaml", "workflows/*.yaml"])
    assert [one.id for one in catalogue.listing().definitions] == ["same"]
    assert catalogue.listing().problems == ()
