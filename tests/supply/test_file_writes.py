"""Files are written by `compozy.base.output_file` alone; every other place is listed here with its reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "engine" / "compozy"
ALLOWED = {
    "backup.snapshot._Database.copy": "SQLite writes the copy into a private temporary folder",
    "backup.snapshot._database": "SQLite opens an existing file, mode=ro, or a private copy",
    "backup.snapshot._write_lock": "SQLite opens the database that it locks",
    "base.leftovers._create_locked": "a private temporary folder",
    "base.output_file._create": "the function itself",
    "base.output_file._link": "the function itself",
    "base.output_file._publish": "the function itself",
    "base.output_file.new_file": "the function itself",
    "base.output_file.open_appended": "the function itself",
    "cli.main._open_standard_streams": "the null device, in the place of closed standard streams",
    "cli.output.protect_output": "a copy of the descriptor of standard output",
    "drivers.process._input": "a pipe to a child",
    "drivers.qdrant_index.main": "Qdrant's engine writes into the checked directory of the store",
    "drivers.qdrant_shard.QdrantShard._create": "Qdrant's engine writes into the checked directory of the store",
    "drivers.qdrant_shard.QdrantShard._open": "Qdrant's engine writes into the checked directory of the store",
    "drivers.qdrant_shard.QdrantShard.duplicate": "copies within the checked directory of the store",
    "drivers.qdrant_shard.QdrantShard.adopt": "Qdrant's engine writes into the checked directory of the store",
    "drivers.qdrant_shard.examine_copy": "copies the checked directory into a new private one",
    "drivers.redis_embedded._prepare": "moves a data directory aside",
    "drivers.sqlite.SqliteDriver._open": "SQLite opens the database of the project",
    "drivers.sqlite._look_through": "SQLite opens an existing file, mode=ro or mode=rw",
    "drivers.sqlite.check_database": "SQLite opens an existing file, mode=ro",
    "drivers.sqlite.database_holding": "SQLite opens an existing file, mode=ro",
    "drivers.temporal_file._unfinished": "SQLite opens an existing file, mode=ro",
    "drivers.vec_connections.VecConnections._open": "SQLite opens the checked database of the store, or memory",
    "knowledge.reading_process.read_in_process": "an unnamed temporary file takes the output of the reader",
    "state.file_lock.FileLock._open": "a lock file is opened in place, or its lock would be lost",
    "state.move_journal._rename": "moves data as its journal specifies",
    "state.undo.UndoLog.roll_back": "moves back what a failed start moved",
    "state.write_gate.WriteGate.__init__": "a lock file is opened in place, or its lock would be lost",
    "trial.case_configs.case_configurations": "a private temporary folder",
    "trial.examples._resolved": "examples in a private temporary folder",
    "trial.row_coverage.rows_in_examples": "a private temporary folder",
    "trial.rules.confirmed_findings": "a private temporary folder",
    "trial.rules.trial_findings": "a private temporary folder",
    "workflows.run.tool_process._write_pipe": "a pipe to a child",
    "workflows.run.tool_process.main": "a pipe to the parent",
}
_METHODS = {"write_text", "write_bytes", "touch", "rename", "symlink_to", "hardlink_to", "tofile"}
_FUNCTIONS = {
    "shutil": {"copy", "copy2", "copyfile", "copytree", "move"},
    "os": {"rename", "renames", "replace", "link", "symlink", "mkfifo", "truncate"},
    "tempfile": {"NamedTemporaryFile", "TemporaryDirectory", "TemporaryFile", "mkstemp", "mkdtemp"},
    "sqlite3": {"connect"},
    "logging": {"FileHandler"},
    "apsw": {"Connection"},
    "numpy": {"save", "savez", "savez_compressed", "savetxt", "memmap"},
    "qdrant_edge": {"EdgeShard.create", "EdgeShard.load"},
}
_WRITERS = {f"{module}.{name}" for module, names in _FUNCTIONS.items() for name in names}
_WRITING_FLAGS = {"O_CREAT", "O_WRONLY", "O_RDWR", "O_TRUNC", "O_APPEND"}


def writes(call: ast.Call, imported: Mapping[str, str]) -> bool:
    """Return True if a call may create, replace or rename a file; `imported` maps a name of the module to its own."""
    name = _full_name(call.func, imported)
    if name == "os.open":
        return not _reads(call.args[1])
    if name in _WRITERS:
        return True
    if name == "qdrant_client.QdrantClient":
        return any(keyword.arg in ("path", None) for keyword in call.keywords)
    match call.func:
        case ast.Attribute(_, "replace"):  # of a path; the one of a text takes two arguments
            return len(call.args) == 1 and not call.keywords
        case ast.Attribute(_, method) if method in _METHODS:
            return True
        case ast.Name("open") | ast.Attribute(_, "open" | "fdopen" | "File"):
            return any(map(_is_writing_mode, _modes(call)))
    return False


def _full_name(node: ast.expr, imported: Mapping[str, str]) -> str:
    """Return the dotted name of a function, such as `os.replace`, also where the module imports it as another name."""
    match node:
        case ast.Name(name):
            return imported.get(name, name)
        case ast.Attribute(value, name):
            return f"{_full_name(value, imported)}.{name}"
    return ""


def _imports(tree: ast.AST) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.asname: name.name for name in node.names if name.asname}
        elif isinstance(node, ast.ImportFrom):
            found |= {name.asname or name.name: f"{node.module}.{name.name}" for name in node.names}
    return found


def _reads(flags: ast.expr) -> bool:
    """Return True if flags are written out in the call and none of them allows writing."""
    names = {part.id for part in ast.walk(flags) if isinstance(part, ast.Name)}
    return names == {"os"} and not _WRITING_FLAGS & {
        part.attr for part in ast.walk(flags) if isinstance(part, ast.Attribute)
    }


def _modes(call: ast.Call) -> Iterator[ast.expr]:
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    if "fileobj" not in named:  # a stream is open already
        yield from (*call.args[:2], *([named["mode"]] if "mode" in named else ()))


def _is_writing_mode(value: ast.expr) -> bool:
    text = value.value if isinstance(value, ast.Constant) else None
    return isinstance(text, str) and len(text) < 6 and set("wax+") & set(text.partition(":")[0]) != set()


def places(source: str, module: str) -> Iterator[str]:
    """Yield the qualified name of each function that may write a file."""
    tree = ast.parse(source)
    imported = _imports(tree)

    def visit(node: ast.AST, inside: str) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            named = child if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) else None
            if isinstance(child, ast.Call) and writes(child, imported):
                yield inside
            yield from visit(child, f"{inside}.{named.name}" if named else inside)

    yield from visit(tree, module)


def found_in_package() -> set[str]:
    modules = {file: ".".join(file.relative_to(PACKAGE).with_suffix("").parts) for file in PACKAGE.rglob("*.py")}
    shipped = {file: name for file, name in modules.items() if not name.startswith(("testing.", "generate."))}
    return {place for file, name in shipped.items() for place in places(file.read_text(encoding="utf-8"), name)}


def test_every_write_of_a_file_has_a_reason() -> None:
    assert found_in_package() == set(ALLOWED)


@pytest.mark.parametrize(
    "line",
    [
        "open(p, 'w')", "open(p, mode='ab')", "p.open('x')", "p.open(mode='r+')", "p.write_text(t)", "p.write_bytes(b)",
        "os.open(p, os.O_CREAT | os.O_RDWR)", "os.open(p, flags)",
        "os.fdopen(d, 'wb')", "os.replace(a, b)", "p.replace(q)", "p.rename(q)",
        "shutil.copyfile(a, b)", "shutil.move(a, b)", "tempfile.mkdtemp()", "sqlite3.connect(p)", "p.touch()",
        "tarfile.open(p, 'w:gz')", "click.File('w')", "logging.FileHandler(p)", "apsw.Connection(p)",
        "array.tofile(p)", "numpy.save(p, a)", "from os import replace as swap; swap(a, b)",
        "from tempfile import TemporaryDirectory; TemporaryDirectory()", "import qdrant_edge as e; e.EdgeShard.load(p)",
        "from qdrant_client import QdrantClient as C; C(path=p)",
    ],
)  # fmt: skip
def test_the_rule_finds_each_way_to_write(line: str) -> None:
    assert list(places(f"def f(): {line}", "m")) == ["m.f"]


@pytest.mark.parametrize(
    "line",
    [
        "open(p)",
        "p.open('rb')",
        "os.open(p, os.O_RDONLY)",
        "t.replace('a', 'b')",
        "d.replace(year=1)",
        "tarfile.open(fileobj=s, mode='w')",
    ],
)
def test_the_rule_allows_reading(line: str) -> None:
    assert list(places(f"def f(): {line}", "m")) == []
