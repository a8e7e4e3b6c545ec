"""Find and call the Python functions of a project.

What comes in: `module:function` and keyword arguments. What goes out: a JSON value, or a `ToolFailure`.
Modules are taken from the project's directory only. Each call runs in a thread of its own that never keeps
the process alive; closing takes the project's modules and directory out of the interpreter again.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import inspect
import json
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextvars import copy_context
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType, TracebackType
from typing import Any

from compozy.errors import ProjectCodeError, TrustError
from compozy.settings.reference import is_project_code_allowed
from compozy.tools import Lookup, no_components, offered
from compozy.workflows.module_owner import OwnerCheck, check_module
from compozy.workflows.plain import clean_reason, why_not_plain

_IMPORTS = threading.Lock()


class ToolFailure(Exception):
    """A tool that could not be called or raised; `kind` is the name of the error, `final` forbids a retry."""

    def __init__(self, kind: str, reason: str, *, final: bool = False) -> None:
        self.kind = kind
        self.reason = clean_reason(reason)
        super().__init__(self.reason)
        self.final = final


class Tools:
    """The tools of the project in `directory` (absolute), importable from `open` to `close`.

    `components` gives them the handle of a component by its name, and raises KeyError when there is none.
    """

    def __init__(self, directory: str, components: Lookup = no_components) -> None:
        self._directory = directory
        self._components = components
        self._owner_check = OwnerCheck(directory)
        self._before: frozenset[str] = frozenset()
        self._open = False

    def open(self) -> Tools:
        """Put the directory on the import path, behind everything that is there; idempotent."""
        if not self._open:
            self._open = True
            self._before = frozenset(sys.modules)
            sys.meta_path.insert(0, self._owner_check)
            # One entry for each that is open, so that the first one to close takes nothing from the others.
            sys.path.append(self._directory)
        return self

    def close(self) -> None:
        """Take the directory off the import path and forget the project's modules; idempotent."""
        if not self._open:
            return
        self._open = False
        sys.meta_path.remove(self._owner_check)
        if self._directory in sys.path:
            sys.path.remove(self._directory)
        if self._directory in sys.path:
            return
        for name in set(sys.modules) - self._before:
            if self._owns(sys.modules[name]):
                del sys.modules[name]

    def function(self, tool: str) -> Callable[..., Any]:
        """Return the function behind `module:function`.

        Raises:
            ToolFailure: the project has no such module or function, or the module cannot be imported.
        """
        module_name, _, name = tool.partition(":")
        with _IMPORTS:
            module = self._module(module_name)
        found = getattr(module, name, None)
        if not callable(found):
            raise ToolFailure("ToolNotFound", f'{module_name} has no function "{name}"', final=True)
        function: Callable[..., Any] = found
        return function

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> Any:
        """Call the tool in a thread of its own; an async one gets an event loop of its own.

        Raises:
            ToolFailure: it was not found, does not take the arguments, raised, or gave no JSON.
            asyncio.CancelledError: this call was cancelled; an async tool is cancelled too.
        """
        call = _Call(asyncio.get_running_loop(), lambda: self.function(tool), arguments)
        with offered(self._components):
            context = copy_context()
        threading.Thread(target=context.run, args=(call.work,), name=f"tool {tool}", daemon=True).start()
        try:
            return await call.outcome
        except asyncio.CancelledError:
            call.cancel()
            raise

    def _module(self, name: str) -> ModuleType:
        top = name.partition(".")[0]
        spec = PathFinder.find_spec(top, [self._directory])
        if spec is None:
            raise ToolFailure("ToolNotFound", f"there is no module {top} in {self._directory}", final=True)
        if not is_project_code_allowed():
            raise ToolFailure("ToolRefused", ProjectCodeError(name).message, final=True)
        try:
            check_module(spec)
            self._take(top, spec)
            return importlib.import_module(name)
        except TrustError as error:
            raise ToolFailure("ToolRefused", str(error), final=True) from error
        except ModuleNotFoundError as error:
            raise ToolFailure("ToolNotFound", str(error), final=True) from error
        except (ImportError, SyntaxError) as error:
            raise ToolFailure(type(error).__name__, str(error), final=True) from error

    def _take(self, name: str, spec: ModuleSpec) -> None:
        """Load the project's module even where another package of that name is installed."""
        loaded = sys.modules.get(name)
        if loaded is None and spec.loader is not None:
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            with _Forget(name):
                spec.loader.exec_module(module)
        elif loaded is not None and not self._owns(loaded):
            where = getattr(loaded, "__file__", None) or "the interpreter"
            reason = f"the name {name} is taken by {where}; rename the project's module"
            raise ToolFailure("ToolNameTaken", reason, final=True)

    def _owns(self, module: ModuleType) -> bool:
        places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
        return any(str(place).startswith(self._directory.rstrip("/") + "/") for place in places if place)


class _Forget:
    """Remove a module that failed while it was loaded."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            sys.modules.pop(self._name, None)


class _Call:
    """One call on its thread; `outcome` is a future of the caller's loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        find: Callable[[], Callable[..., Any]],
        arguments: Mapping[str, Any],
    ) -> None:
        self.outcome: asyncio.Future[Any] = loop.create_future()
        self._loop = loop
        self._find = find
        self._arguments = arguments
        self._inner: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None

    def work(self) -> None:
        """Call the function and deliver its result; runs in the thread."""
        with _Deliver(self):
            function = self._find()
            _check_arguments(function, self._arguments)
            result = function(**self._arguments)
            if inspect.isawaitable(result):
                with asyncio.Runner() as runner:
                    result = runner.run(self._awaited(result))
            self.deliver(_json(result), None)

    def deliver(self, result: Any, failure: ToolFailure | None) -> None:
        """Hand the outcome to the caller's loop, unless that is gone."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._settle, result, failure)

    def cancel(self) -> None:
        """Cancel an async tool; a synchronous one runs to its end unheard."""
        inner = self._inner
        if inner is not None:
            loop, task = inner
            # The tool may have ended just now, and its loop with it.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(task.cancel)

    async def _awaited(self, result: Awaitable[Any]) -> Any:
        task = asyncio.current_task()
        if task is not None:
            self._inner = (asyncio.get_running_loop(), task)
        try:
            return await result
        finally:
            self._inner = None

    def _settle(self, result: Any, failure: ToolFailure | None) -> None:
        if self.outcome.done():
            return
        if failure is None:
            self.outcome.set_result(result)
        else:
            self.outcome.set_exception(failure)


class _Deliver:
    """Turn whatever a tool raises, `sys.exit` too, into a `ToolFailure` for the caller."""

    def __init__(self, call: _Call) -> None:
        self._call = call

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            return True
        failure = error if isinstance(error, ToolFailure) else ToolFailure(type(error).__name__, str(error))
        if failure is not error:
            failure.__cause__ = error
        self._call.deliver(None, failure)
        return True


def _check_arguments(function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(**arguments)
    except TypeError as error:
        name = getattr(function, "__name__", "the tool")
        raise ToolFailure("ToolArguments", f"{name}{signature} does not take them: {error}", final=True) from error


def _json(result: Any) -> Any:
    reason = why_not_plain(result)
    if reason is not None:
        raise ToolFailure("ToolResult", f"the result cannot be kept: {reason}", final=True)
    return json.loads(json.dumps(result))
