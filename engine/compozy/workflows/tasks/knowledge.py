"""The task type `knowledge`: query a knowledge base."""

from __future__ import annotations

from collections.abc import Mapping

from compozy.base.record import dataclass
from compozy.base.shapes import STRING, integer, may, need, number
from compozy.workflows.model.definition import Retry, Task
from compozy.workflows.model.scope import Scope
from compozy.workflows.tasks.engine import Call, CallError, Engine, TaskError
from compozy.workflows.tasks.kinds import PERIOD, RETRY, Templates, WithPlace, task_shape

QUERY_KNOWLEDGE = "compozy.knowledge_query"
DEFAULT_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge(Task):
    """Query `base` for `query`; `filter` compares metadata, `timeout_s` bounds one attempt."""

    type = "knowledge"
    base: str
    query: object
    top_k: int = 5
    min_score: float | None = None
    filter: Mapping[str, object] | None = None
    retry: Retry = Retry()
    timeout_s: float = DEFAULT_TIMEOUT_S


SHAPE = task_shape(
    Knowledge,
    "Queries a knowledge base; its output has `base` and `results`.",
    {
        "base": need(WithPlace(STRING), "The id of a base under knowledge.bases."),
        "query": need(Templates(), "What to find, a text."),
        "top_k": may(integer(1, 100), "How many results there are at most; 5 by default."),
        "min_score": may(number(-1, 1), "The lowest score of a result."),
        "filter": may(Templates(mapping=True), "Metadata that results have: a value, or a list of which one fits."),
        "timeout": may(PERIOD, "How long one attempt may take; 60s by default.", field="timeout_s"),
        "retry": may(RETRY, "How often and when a query that failed is tried again."),
    },
)


async def run(task: Knowledge, engine: Engine, scope: Scope) -> object:
    """Return the results."""
    query = await engine.evaluate(task.query, scope, f"{task.path}.query")
    if not isinstance(query, str) or not query.strip():
        raise TaskError("query must be a text that is not empty", f"{task.path}.query")
    argument = {
        "base": task.base,
        "query": query,
        "top_k": task.top_k,
        "min_score": task.min_score,
        "filter": await engine.evaluate(task.filter, scope, f"{task.path}.filter"),
    }
    try:
        return await engine.call(Call(QUERY_KNOWLEDGE, argument, task.timeout_s, task.retry))
    except CallError as error:
        raise TaskError(f"query of knowledge base {task.base} failed: {error.reason}") from error
