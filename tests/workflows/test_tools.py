"""Python functions of a project as tools: found, called, and forgotten again."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.polling import eventually

from compozy.workflows.model.tool_failure import ToolFailure
from compozy.workflows.run.tool_loader import ToolOffer, Tools, _Call


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    """Return the tools of a project with one module of each kind."""
    (tmp_path / "mod_plain.py").write_text(
        "import asyncio, sys, threading, time\nfrom time import sleep\n"
        "class Shape:\n    pass\n"
        "def _private():\n    return 1\n"
        "def replaced():\n    return 1\nreplaced = time.sleep\n"
        "class Odd(Exception):\n    def __str__(self):\n        return str(1 // 0)\n"
        "def untextual():\n    raise Odd\n"
        "def silent():\n    raise RuntimeError\n"
        "async def grouped():\n    async with asyncio.TaskGroup() as group:\n"
        "        group.create_task(useful())\n"
        "async def useful():\n    raise ValueError('useful')\n"
        "def caused():\n    raise RuntimeError from ValueError('useful')\n"
        "def twice():\n    return {1: 'a', '1': 'b'}\n"
        "def dated():\n    import datetime\n    return {'at': [{'when': datetime.datetime.now()}]}\n"
        "def keyed():\n    return {1: 'a'}\n"
        "NUMBER = 5\n"
        "def add(a, b=1):\n    return a + b\n"
        "async def later(a):\n    await asyncio.sleep(0)\n    return [a]\n"
        "def fails():\n    raise ValueError('no')\n"
        "def exits():\n    sys.exit(3)\n"
        "def stops():\n    raise StopIteration('s')\n"
        "def strange():\n    return object()\n"
        "def infinite():\n    return float('inf')\n"
        "def shared():\n    x = [1]\n    for _ in range(60):\n        x = [x, x]\n    return x\n"
        "def endless():\n    x = []\n    x.append(x)\n    return x\n"
        "def large():\n    return 'x' * 2_000_000\n"
        "def where():\n    return threading.current_thread().daemon\n"
        "def runs_a_loop():\n    return asyncio.run(later(1))\n"
    )
    (tmp_path / "mod_broken.py").write_text("import mod_nowhere_at_all\ndef x():\n    pass\n")
    nested = tmp_path / "mod_space" / "inner"
    nested.mkdir(parents=True)
    (nested / "deep.py").write_text("def name():\n    return __name__\n")
    (tmp_path / "mod_syntax.py").write_text("def broken(:\n")
    (tmp_path / "mod_sibling.py").write_text("import mod_plain\ndef add():\n    return mod_plain.add(1)\n")
    (tmp_path / "json.py").write_text("def mine():\n    return 1\n")
    package = tmp_path / "mod_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text("from mod_package import __name__ as n\ndef name():\n    return n\n")
    made = Tools(str(tmp_path)).open()
    yield made
    made.close()


def call(tools: Tools, tool: str, **arguments: Any) -> Any:
    """Call a tool and wait for it."""
    return asyncio.run(tools.call(tool, arguments))


@pytest.mark.parametrize(
    ("tool", "arguments", "result"),
    [
        pytest.param("mod_plain:add", {"a": 1}, 2, id="function"),
        pytest.param("mod_plain:later", {"a": 1}, [1], id="coroutine"),
        pytest.param("mod_plain:runs_a_loop", {}, [1], id="own-loop"),
        pytest.param("mod_plain:where", {}, True, id="daemon-thread"),
        pytest.param("mod_sibling:add", {}, 2, id="sibling"),
        pytest.param("mod_space.inner.deep:name", {}, "mod_space.inner.deep", id="namespaces"),
        pytest.param("mod_plain:keyed", {}, {"1": "a"}, id="number-key"),
        pytest.param("mod_package.inner:name", {}, "mod_package", id="package"),
    ],
)
def test_calling(tools: Tools, tool: str, arguments: dict[str, Any], result: Any) -> None:
    """Functions and coroutines of the project's modules are called with keyword arguments."""
    assert call(tools, tool, **arguments) == result


@pytest.mark.parametrize(
    ("tool", "arguments", "kind", "reason", "final"),
    [
        pytest.param("mod_plain:fails", {}, "ValueError", "no", False, id="raises"),
        pytest.param("mod_plain:exits", {}, "SystemExit", "3", False, id="exits"),
        pytest.param("mod_plain:stops", {}, "StopIteration", "s", False, id="stop-iteration"),
        pytest.param("mod_plain:nope", {}, "ToolNotFound", 'mod_plain defines no function "nope"', True, id="unknown"),
        pytest.param("mod_plain:NUMBER", {}, "ToolNotFound", "defines no function", True, id="not-callable"),
        pytest.param("mod_plain:ad", {}, "ToolNotFound", 'did you mean "add"?', True, id="near-function"),
        pytest.param("mod_plian:add", {}, "ToolNotFound", 'did you mean "mod_plain"?', True, id="near-module"),
        pytest.param("mod_plain:_private", {}, "ToolNotFound", "is private", True, id="private"),
        pytest.param("mod_plain:asyncio", {}, "ToolNotFound", "defines no function", True, id="imported-module"),
        pytest.param("mod_plain:sleep", {}, "ToolNotFound", "defines no function", True, id="imported-function"),
        pytest.param("mod_plain:__import__", {}, "ToolNotFound", "is private", True, id="dunder"),
        pytest.param("mod_plain:Shape", {}, "ToolNotFound", "defines no function", True, id="class"),
        pytest.param("mod_plain:replaced", {}, "ToolNotFound", "is replaced by something of time", True, id="replaced"),
        pytest.param("mod_plain:untextual", {}, "Odd", "(its text raised ZeroDivisionError)", False, id="no-text"),
        pytest.param("mod_plain:silent", {}, "RuntimeError", "(no text)", False, id="empty-text"),
        pytest.param("mod_plain:grouped", {}, "ExceptionGroup", "ValueError: useful", False, id="group"),
        pytest.param("mod_plain:caused", {}, "RuntimeError", "caused by ValueError: useful", False, id="cause"),
        pytest.param("mod_plain:twice", {}, "ToolResult", 'two keys that are "1" as text', True, id="equal-keys"),
        pytest.param("mod_nope:add", {}, "ToolNotFound", "module mod_nope not found in", True, id="no-module"),
        pytest.param("os:getcwd", {}, "ToolNotFound", "module os not found in", True, id="outside-the-project"),
        pytest.param("json:mine", {}, "ToolNameTaken", "rename the project's module", True, id="name-taken"),
        pytest.param("mod_broken:x", {}, "ToolNotFound", "the package mod_nowhere_at_all, which", True, id="broken"),
        pytest.param("mod_syntax:x", {}, "SyntaxError", "invalid syntax", True, id="broken-syntax"),
        pytest.param("mod_plain:add", {"c": 1}, "ToolArguments", "add(a, b=1) does not take them", True, id="args"),
        pytest.param("mod_plain:strange", {}, "ToolResult", "not JSON", True, id="no-json"),
        pytest.param(
            "mod_plain:dated", {}, "ToolResult", "at[0].when has the type datetime; use isoformat()", True, id="place"
        ),
        pytest.param("mod_plain:infinite", {}, "ToolResult", "not JSON", True, id="infinite"),
        pytest.param("mod_plain:shared", {}, "ToolResult", "more than 1000000 values", True, id="shared"),
        pytest.param("mod_plain:endless", {}, "ToolResult", "nested deeper", True, id="endless"),
        pytest.param("mod_plain:large", {}, "ToolResult", "at most 1000000", True, id="large"),
    ],
)
def test_failing(tools: Tools, tool: str, arguments: dict[str, Any], kind: str, reason: str, final: bool) -> None:
    """Every fault is one kind of failure, with the name of the error and whether to retry."""
    with pytest.raises(ToolFailure) as caught:
        call(tools, tool, **arguments)

    assert (caught.value.kind, caught.value.final) == (kind, final)
    assert reason in caught.value.reason


def test_failed_module_can_be_repaired(tools: Tools, tmp_path: Path) -> None:
    """A failed import leaves nothing behind, so that the next attempt reads the file again."""
    with pytest.raises(ToolFailure):
        call(tools, "mod_broken:add")
    (tmp_path / "mod_broken.py").write_text("def add():\n    return 'repaired'\n")

    assert call(tools, "mod_broken:add") == "repaired"


def test_naming_a_module_does_not_import_it(tools: Tools, tmp_path: Path) -> None:
    """A name that is no tool is refused before its module is imported."""
    mark = tmp_path / "imported"
    (tmp_path / "mod_marks.py").write_text(f"open({str(mark)!r}, 'w')\nfrom os import getcwd\nNAME = 1\n")

    for name in ("getcwd", "NAME", "open", "_x"):
        with pytest.raises(ToolFailure):
            call(tools, f"mod_marks:{name}")

    assert not mark.exists()


@pytest.mark.parametrize(
    ("patterns", "allowed"),
    [(("mod_one:run",), True), (("mod_*:*",), True), (("mod_one:walk", "other:*"), False), ((), False)],
)
def test_only_allowed_tools_are_called(tmp_path: Path, patterns: tuple[str, ...], allowed: bool) -> None:
    """The setting lists what may be called; everything else is refused before it is imported."""
    (tmp_path / "mod_one.py").write_text("def run():\n    return 1\n")
    tools = Tools(str(tmp_path), ToolOffer(allowed=patterns)).open()
    try:
        if allowed:
            assert call(tools, "mod_one:run") == 1
        else:
            with pytest.raises(ToolFailure, match="mod_one:run is not in the setting tools"):
                call(tools, "mod_one:run")
            assert "mod_one" not in sys.modules
    finally:
        tools.close()


def test_secrets_are_offered_and_redacted(tmp_path: Path) -> None:
    """A tool reads the secrets of its runtime; its result does not hold them."""
    (tmp_path / "mod_secret.py").write_text(
        "from compozy.tools import secret\ndef read(name):\n    return [secret(name), {secret(name): 1}]\n"
    )
    tools = Tools(str(tmp_path), ToolOffer(secrets={"TOKEN": "s3cr3t-word"})).open()

    assert call(tools, "mod_secret:read", name="TOKEN") == ["[REDACTED]", {"[REDACTED]": 1}]
    with pytest.raises(ToolFailure, match='secret "OTHER" does not exist'):
        call(tools, "mod_secret:read", name="OTHER")
    tools.close()


def test_a_hanging_import_blocks_no_other_tool(tools: Tools, tmp_path: Path) -> None:
    """A module that never finishes loading holds up only its own tools."""
    (tmp_path / "mod_waits.py").write_text(
        "import threading\nimport mod_door\nmod_door.began.set()\nmod_door.gate.wait(30)\ndef run():\n    return 1\n"
    )
    (tmp_path / "mod_door.py").write_text(
        "import threading\nbegan, gate = threading.Event(), threading.Event()\n"
        "def wait():\n    return began.wait(30)\ndef release():\n    gate.set()\n"
    )

    async def both() -> list[Any]:
        hanging = asyncio.create_task(tools.call("mod_waits:run", {}))
        await tools.call("mod_door:wait", {})
        other = await tools.call("mod_plain:add", {"a": 1})
        await tools.call("mod_door:release", {})
        return [other, await hanging]

    assert asyncio.run(both()) == [2, 1]


def test_a_cancelled_loop_of_python_ends(tools: Tools, tmp_path: Path) -> None:
    """A synchronous tool whose call was given up is stopped when it uses the processor, not while it waits."""
    (tmp_path / "mod_spins.py").write_text(
        "import pathlib, threading\ngate = threading.Event()\n"
        "def spin(mark):\n    pathlib.Path(mark).touch()\n    gate.wait(30)\n    while True:\n        pass\n"
        "def release():\n    gate.set()\n"
    )
    mark = tmp_path / "spins"

    def runs() -> bool:
        return any(thread.name == "tool mod_spins:spin" for thread in threading.enumerate())

    async def cancel_it() -> None:
        calling = asyncio.create_task(tools.call("mod_spins:spin", {"mark": str(mark)}))
        while not mark.exists():
            await asyncio.sleep(0.01)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        assert runs()
        await tools.call("mod_spins:release", {})
        while runs():
            await asyncio.sleep(0.01)

    asyncio.run(cancel_it())


def test_a_module_of_an_installed_name_is_the_project_s(tmp_path: Path) -> None:
    """A package that is installed but not loaded does not hide the project's module of the same name."""
    (tmp_path / "wave.py").write_text("def mine():\n    return 1\n")
    sys.modules.pop("wave", None)
    tools = Tools(str(tmp_path)).open()

    assert call(tools, "wave:mine") == 1
    tools.close()
    assert "wave" not in sys.modules


def test_closing_forgets_the_project(tmp_path: Path) -> None:
    """After closing, neither the import path nor the loaded modules know the project."""
    (tmp_path / "mod_leaves.py").write_text("def f():\n    return 1\n")
    path, modules = list(sys.path), set(sys.modules)
    tools = Tools(str(tmp_path)).open()
    call(tools, "mod_leaves:f")

    tools.close()
    tools.close()

    assert sys.path == path
    assert {name for name in set(sys.modules) - modules if name.startswith("mod_")} == set()


def test_two_projects_one_after_the_other_may_use_the_same_names(tmp_path: Path) -> None:
    """Each project gets its own module of a name."""
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mod_same.py").write_text(f"def f():\n    return {name!r}\n")
        tools = Tools(str(tmp_path / name)).open()
        found.append(call(tools, "mod_same:f"))
        tools.close()

    assert found == ["one", "two"]


def test_two_runtimes_of_one_project_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Modules closed by one runtime stay available to the other."""
    (tmp_path / "mod_shared.py").write_text("def f():\n    import mod_late\n    return mod_late.N\n")
    (tmp_path / "mod_late.py").write_text("N = 7\n")
    one, two = Tools(str(tmp_path)).open(), Tools(str(tmp_path)).open()

    one.close()
    one.close()

    assert call(two, "mod_shared:f") == 7
    two.close()
    assert str(tmp_path) not in sys.path


def test_cancelling_a_call_cancels_an_async_tool(tmp_path: Path) -> None:
    """The coroutine of the tool gets the cancellation, on its own loop."""
    began, ended = tmp_path / "began", tmp_path / "ended"
    (tmp_path / "mod_waits.py").write_text(
        "import asyncio, pathlib\n"
        f"async def wait():\n    pathlib.Path({str(began)!r}).touch()\n"
        "    try:\n        await asyncio.sleep(60)\n"
        f"    finally:\n        pathlib.Path({str(ended)!r}).touch()\n"
    )
    tools = Tools(str(tmp_path)).open()

    async def cancel_it() -> None:
        calling = asyncio.create_task(tools.call("mod_waits:wait", {}))
        while not began.exists():
            await asyncio.sleep(0.01)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling

    asyncio.run(cancel_it())
    eventually(ended.exists)
    tools.close()


def test_late_cancellation_stays_a_cancellation() -> None:
    """The loop of the tool may be closed by the time that its call is cancelled."""

    with asyncio.Runner() as tool, asyncio.Runner() as caller:
        call = _Call(caller.get_loop(), lambda: print, {})
        call._inner = (tool.get_loop(), tool.get_loop().create_task(asyncio.sleep(0)))
        tool.close()

        call.cancel()


@pytest.mark.parametrize("name", ["shared.py", "helper.py", "."])
def test_module_writable_by_others_is_not_imported(name: str, tmp_path: Path) -> None:
    """Neither the tool's own file nor one that it imports, and nothing from a directory that is open to all."""
    (tmp_path / "shared.py").write_text("import helper\n\ndef one():\n    return helper.ONE\n", encoding="utf-8")
    (tmp_path / "helper.py").write_text("ONE = 1\n", encoding="utf-8")
    path = tmp_path / name
    path.chmod(path.stat().st_mode | 0o002)
    tools = Tools(str(tmp_path)).open()
    try:
        with pytest.raises(ToolFailure, match="every user may write to it") as caught:
            tools.function("shared:one")
    finally:
        tools.close()
    assert caught.value.kind == "ToolRefused"
