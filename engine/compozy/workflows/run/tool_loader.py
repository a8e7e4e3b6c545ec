"""Import and call the Python functions of a project.

Takes `module:function` and keyword arguments, returns a JSON value. Modules come from the project's directory only,
after `tool_source` has found the function there. Each call runs in a thread of its own that never keeps the process
alive; closing takes the project's modules and directory out of the interpreter again.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib
import inspect
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import field
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType, TracebackType

from compozy.base.record import dataclass
from compozy.errors import ProjectCodeError, TrustError
from compozy.memory.memories import Memories, no_memories
from compozy.settings.reference import is_project_code_allowed
from compozy.tools import Lookup, no_components, offered
from compozy.workflows.model.plain import why_not_plain
from compozy.workflows.model.tool_failure import ToolFailure
from compozy.workflows.model.tool_secrets import without_secrets
from compozy.workflows.read.module_owner import OwnerCheck
from compozy.workflows.read.tool_source import ToolSources
from compozy.workflows.run.error_text import describe_error
from compozy.workflows.run.tool_process import ToolRequest, call_in_process

__all__ = ["ToolFailure", "Tools"]


@dataclass(frozen=True, slots=True)
class ToolOffer:
    """The offer to tools and tasks, and the secrets to redact from their errors.

    `components` gives the handle of a component by its name and raises KeyError for an unknown one; `allowed` are the
    patterns of the setting `tools` (None: all of the project), `secrets` the setting of that name; `redact` takes every
    secret out of a text; `memories` are the conversation memories.
    """

    components: Lookup = no_components
    allowed: Sequence[str] | None = None
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    redact: Callable[[str], str] = str
    memories: Memories = field(default_factory=no_memories)


NO_OFFER = ToolOffer()
_WATCH_S = 0.2
_LONGEST_WATCH_S = 10.0


class ToolStopped(BaseException):
    """Raised in the thread of a tool that has to stop."""


class _ProjectFinder(MetaPathFinder):
    """Finds the module that this thread loads as a tool, also where a package of its name is installed."""

    def __init__(self) -> None:
        self._wanted: ContextVar[tuple[str, str] | None] = ContextVar("compozy_tool_module", default=None)

    @contextmanager
    def taking(self, name: str, directory: str) -> Iterator[None]:
        """Import the top-level module `name` from `directory` within the block."""
        # A context variable, because several threads import tools at the same time.
        token = self._wanted.set((name, directory))
        try:
            yield
        finally:
            self._wanted.reset(token)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where the wanted module is; None for every other one."""
        wanted = self._wanted.get()
        if wanted is None or wanted[0] != fullname:
            return None
        return PathFinder.find_spec(fullname, [wanted[1]])


_FINDER = _ProjectFinder()


class Tools:
    """The tools of the project in `directory` (absolute), importable from `open` to `close`."""

    def __init__(self, directory: str, offer: ToolOffer = NO_OFFER) -> None:
        self.offer = offer
        self._directory = directory
        self._sources = ToolSources(directory, offer.allowed)
        self._owner_check = OwnerCheck(directory)
        self._before: frozenset[str] = frozenset()
        self._open = False

    def open(self) -> Tools:
        """Put the directory on the import path, behind everything that is there; idempotent."""
        if not self._open:
            self._open = True
            self._before = frozenset(sys.modules)
            # One entry for each that is open, so that the first one to close takes nothing from the others.
            sys.path.append(self._directory)
            # Before the interpreter's own finders: the check must see every import from the project, those of its
            # modules too.
            sys.meta_path[:0] = [self._owner_check, _FINDER]
        return self

    def close(self) -> None:
        """Remove the directory from the import path and drop the project's modules; idempotent."""
        if not self._open:
            return
        self._open = False
        sys.meta_path.remove(self._owner_check)
        sys.meta_path.remove(_FINDER)
        if self._directory in sys.path:
            sys.path.remove(self._directory)
        if self._directory in sys.path:
            return
        # All are looked at before any is removed: a namespace package asks for its parent.
        loaded = [(name, module) for name, module in list(sys.modules.items()) if name not in self._before]
        for name, module in [(name, module) for name, module in loaded if self._owns(module)]:
            # Another project may have imported a module of the same name meanwhile.
            if sys.modules.get(name) is module:
                sys.modules.pop(name, None)

    def function(self, tool: str) -> Callable[..., object]:
        """Return the function behind `module:function`.

        Raises:
            ToolFailure: the project has no such module or function, or the module cannot be imported.
        """
        self._sources.check(tool)
        module_name, _, name = tool.partition(":")
        found = getattr(self._module(module_name), name, None)
        if not callable(found):
            reason = f'{module_name} has no function "{name}"; it was loaded before it had one: restart the server'
            raise ToolFailure("ToolNotFound", reason, final=True)
        # A module may import a function of another package; only what it defines itself is a tool.
        origin = getattr(inspect.unwrap(found), "__module__", None)
        if origin != module_name:
            reason = f"{tool} is replaced by something of {origin} when it is imported; decorators need functools.wraps"
            raise ToolFailure("ToolNotFound", reason, final=True)
        return found  # type: ignore[no-any-return]

    async def call(self, tool: str, arguments: Mapping[str, object]) -> object:
        """Call the tool in a thread of its own; an async one gets an event loop of its own.

        Raises:
            ToolFailure: it was not found, does not take the arguments, raised, or gave no JSON.
            asyncio.CancelledError: this call was cancelled; the tool is stopped.
        """
        return without_secrets(await self._call_in_thread(tool, arguments), self.offer.secrets)

    async def call_apart(self, tool: str, arguments: Mapping[str, object]) -> object:
        """Call the tool in a process of its own, which ends with the call; raises as `call` does."""
        self._sources.check(tool)
        self._check_code(tool)
        request = ToolRequest(self._directory, tool, arguments, self.offer.allowed, self.offer.secrets)
        return without_secrets(await call_in_process(request), self.offer.secrets)

    async def _call_in_thread(self, tool: str, arguments: Mapping[str, object]) -> object:
        call = _Call(asyncio.get_running_loop(), lambda: self.function(tool), arguments)
        # The context is copied within the block: a new thread starts with an empty one.
        with offered(self.offer.components, self.offer.secrets):
            context = copy_context()
        # No pool: a tool that never returns would take a thread of it for ever, and a daemon does not delay the exit.
        threading.Thread(target=context.run, args=(call.work,), name=f"tool {tool}", daemon=True).start()
        try:
            return await call.outcome
        except asyncio.CancelledError:
            call.cancel()
            raise

    def _module(self, name: str) -> ModuleType:
        """Import a module; the interpreter's own lock of each module is enough."""
        top = name.partition(".")[0]
        loaded = sys.modules.get(top)
        if loaded is not None and not self._owns(loaded):
            where = getattr(loaded, "__file__", None) or "the interpreter"
            reason = f"the name {top} is taken by {where}; rename the project's module"
            raise ToolFailure("ToolNameTaken", reason, final=True)
        self._check_code(name)
        try:
            with _FINDER.taking(top, self._directory):
                return importlib.import_module(name)
        except TrustError as error:
            raise ToolFailure("ToolRefused", str(error), final=True) from error
        except ModuleNotFoundError as error:
            missing = str(error.name)
            reason = f"{name} needs the package {missing.partition('.')[0]}, which is not installed: {error}"
            raise ToolFailure("ToolNotFound", reason, final=True) from error
        except (ImportError, SyntaxError) as error:
            raise ToolFailure(type(error).__name__, describe_error(error), final=True) from error

    def _check_code(self, name: str) -> None:
        if not is_project_code_allowed():
            raise ToolFailure("ToolRefused", ProjectCodeError(name).message, final=True)

    def _owns(self, module: ModuleType) -> bool:
        places = [getattr(module, "__file__", None)]
        # A namespace package computes its path from its parent, which may have been removed.
        with contextlib.suppress(KeyError):
            places += getattr(module, "__path__", ())
        return any(str(place).startswith(self._directory.rstrip("/") + "/") for place in places if place)


class _Call:
    """One call on its thread; `outcome` is a future of the caller's loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        find: Callable[[], Callable[..., object]],
        arguments: Mapping[str, object],
    ) -> None:
        self.outcome: asyncio.Future[object] = loop.create_future()
        self._loop = loop
        self._find = find
        self._arguments = arguments
        self._inner: tuple[asyncio.AbstractEventLoop, asyncio.Task[object]] | None = None
        self._turn = threading.Lock()
        self._thread: int | None = None

    def work(self) -> None:
        """Call the function and deliver its result; runs in the thread."""
        # `ToolStopped` is asynchronous and may be raised here too, while a failure is delivered.
        with contextlib.suppress(ToolStopped), _Deliver(self):
            with self._stoppable():
                function = self._find()
                _check_arguments(function, self._arguments)
                result = function(**self._arguments)
                if inspect.isawaitable(result):
                    with asyncio.Runner() as runner:
                        # A loop of its own, so that an async tool that blocks does not block the worker.
                        result = runner.run(self._awaited(result))
                # In this thread, because encoding a large result would block the loop of the worker.
                result = _json(result)
            self.deliver(result, None)

    def deliver(self, result: object, failure: ToolFailure | None) -> None:
        """Pass the outcome to the caller's loop, unless it is closed."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._settle, result, failure)

    def cancel(self) -> None:
        """Cancel an async tool; stop a synchronous one that uses the processor. Called on the caller's loop."""
        inner = self._inner
        if inner is not None:
            loop, task = inner
            # The tool may have ended just now, and its loop with it.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(task.cancel)
            return
        self._watch(0.0, _WATCH_S)

    def _watch(self, seen_s: float, delay_s: float) -> None:
        """Stop the thread once it uses the processor; one that waits is left alone until it does.

        An exception that is thrown into a thread which waits outside of Python would slow the whole interpreter down,
        and hang it under a tracer, until the thread is back.
        """
        with self._turn:
            if self._thread is None:
                return
            used_s = _processor_s(self._thread)
            # More than 2 % of a processor since the last look: it runs Python code, into which an exception can be
            # raised.
            if seen_s and used_s - seen_s > delay_s / 50:
                _throw(self._thread, ToolStopped)
                return
        self._loop.call_later(delay_s, self._watch, used_s, min(2 * delay_s, _LONGEST_WATCH_S))

    @contextmanager
    def _stoppable(self) -> Iterator[None]:
        """Allow `cancel` to stop this thread within the block, and not after it."""
        with self._turn:
            self._thread = threading.get_ident()
        try:
            yield
        finally:
            with self._turn:
                self._thread = None

    async def _awaited(self, result: Awaitable[object]) -> object:
        task = asyncio.current_task()
        if task is not None:
            self._inner = (asyncio.get_running_loop(), task)
        try:
            return await result
        finally:
            self._inner = None

    def _settle(self, result: object, failure: ToolFailure | None) -> None:
        if self.outcome.done():
            return
        if failure is None:
            self.outcome.set_result(result)
        else:
            self.outcome.set_exception(failure)


class _Deliver:
    """Turn every exception of a tool, `sys.exit` included, into a `ToolFailure` for the caller."""

    def __init__(self, call: _Call) -> None:
        self._call = call

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            return True
        failure = error if isinstance(error, ToolFailure) else ToolFailure(type(error).__name__, describe_error(error))
        # The activity logs the cause; Temporal never stores it.
        if failure is not error:
            failure.__cause__ = error
        self._call.deliver(None, failure)
        return True


def _processor_s(thread: int) -> float:
    """Return the processor time of a living thread; 0 if the system does not report it."""
    clock = getattr(time, "pthread_getcpuclockid", None)
    return 0.0 if clock is None else time.clock_gettime(clock(thread))


def _throw(thread: int, error: type[BaseException]) -> None:
    """Raise an exception in another thread, at its next step in Python."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))


def _check_arguments(function: Callable[..., object], arguments: Mapping[str, object]) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(**arguments)
    except TypeError as error:
        name = getattr(function, "__name__", "the tool")
        raise ToolFailure("ToolArguments", f"{name}{signature} does not take them: {error}", final=True) from error


def _json(result: object) -> object:
    reason = why_not_plain(result)
    if reason is not None:
        raise ToolFailure("ToolResult", f"the result cannot be kept: {reason}", final=True)
    return json.loads(json.dumps(result), object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Build a mapping of a result, whose keys may have become equal as text."""
    found = dict(pairs)
    if len(found) < len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ToolFailure("ToolResult", f'the result has two keys that are "{twice}" as text', final=True)
    return found
