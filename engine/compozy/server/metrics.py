"""Write metrics in the text format of Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats/).

Nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from compozy.base.tally import Tally
from compozy.client.answers import HealthAnswer
from compozy.knowledge.library import Library


def metrics_text(
    health: HealthAnswer,
    executions: Mapping[str, int] | None,
    answers: Mapping[int, int],
    seconds: float,
    *,
    library: Library,
    ingesting: Mapping[str, bool] | None,
    operations: Tally,
) -> str:
    """Return all metrics; `executions` and `ingesting` are None while the database does not answer."""
    project = (*_knowledge_lines(library, ingesting), *_memory_lines(operations))
    lines = (*_component_lines(health), *_execution_lines(executions), *_http_lines(answers, seconds), *project)
    return "\n".join((*lines, ""))


def _component_lines(health: HealthAnswer) -> Iterator[str]:
    yield from _head("compozy_ready", "gauge", "1 when every enabled component is healthy and the worker takes work.")
    yield f"compozy_ready {int(health.ready)}"
    yield from _head("compozy_component_up", "gauge", "1 when the component answered its last check.")
    for name, part in health.components.items():
        labels = _labels(component=name, driver=part.driver, mode=part.mode)
        yield f"compozy_component_up{labels} {int(part.healthy)}"
    yield from _head("compozy_worker_up", "gauge", "1 when the worker takes work.")
    yield f"compozy_worker_up {int(health.worker.healthy)}"
    yield from _head("compozy_component_latency_seconds", "gauge", "How long the last check took.")
    for name, part in health.components.items():
        if part.latency_ms is not None:
            yield f"compozy_component_latency_seconds{_labels(component=name)} {part.latency_ms / 1000:.6f}"


def _execution_lines(executions: Mapping[str, int] | None) -> Iterator[str]:
    if executions is None:
        return
    yield from _head("compozy_executions", "gauge", "Executions in the database by status.")
    for status, count in executions.items():
        yield f"compozy_executions{_labels(status=status)} {count}"


def _http_lines(answers: Mapping[int, int], seconds: float) -> Iterator[str]:
    yield from _head("compozy_http_requests_total", "counter", "Answered HTTP requests by status.")
    for status, count in sorted(answers.items()):
        yield f"compozy_http_requests_total{_labels(status=str(status))} {count}"
    yield from _head("compozy_http_request_seconds", "summary", "Time until the answer began.")
    yield f"compozy_http_request_seconds_sum {seconds:.6f}"
    yield f"compozy_http_request_seconds_count {sum(answers.values())}"


def _knowledge_lines(library: Library, ingesting: Mapping[str, bool] | None) -> Iterator[str]:
    name = "compozy_knowledge"
    yield from _counter(f"{name}_queries_total", "Queries by base and result.", library.queries, "base", "result")
    yield from _summary(f"{name}_query_duration_seconds", "Time of queries.", library.queries, "base")
    about = "Documents that ingestions have processed, by outcome."
    yield from _counter(f"{name}_documents_total", about, library.documents, "base", "outcome")
    yield from _counter(f"{name}_chunks_total", "Chunks that ingestions have written.", library.chunks, "base")
    if ingesting is not None:
        yield from _head(f"{name}_ingestion_running", "gauge", "1 while an ingestion of the base runs.")
        yield from (f"{name}_ingestion_running{_labels(base=base)} {int(runs)}" for base, runs in ingesting.items())


def _memory_lines(operations: Tally) -> Iterator[str]:
    name, labels = "compozy_memory_operation", ("memory", "operation")
    yield from _counter(f"{name}s_total", "Operations on memories by result.", operations, *labels, "result")
    yield from _summary(f"{name}_duration_seconds", "Time of operations on memories.", operations, *labels)


def _counter(name: str, text: str, tally: Tally, *labels: str) -> Iterator[str]:
    yield from _head(name, "counter", text)
    for values, count in tally.counts().items():
        yield f"{name}{_labels(**dict(zip(labels, values, strict=True)))} {count}"


def _summary(name: str, text: str, tally: Tally, *labels: str) -> Iterator[str]:
    yield from _head(name, "summary", text)
    for values, (count, seconds) in tally.durations().items():
        shown = _labels(**dict(zip(labels, values, strict=True)))
        yield f"{name}_sum{shown} {seconds:.6f}"
        yield f"{name}_count{shown} {count}"


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _labels(**labels: str) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
