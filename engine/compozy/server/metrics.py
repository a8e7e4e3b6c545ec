"""Write metrics in the text format of Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats/).

Nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from compozy.client.answers import HealthAnswer


def metrics_text(
    health: HealthAnswer,
    executions: Mapping[str, int] | None,
    answers: Mapping[int, int],
    seconds: float,
) -> str:
    """Return all metrics; `executions` is None while the database does not answer."""
    return "\n".join((*_component_lines(health), *_execution_lines(executions), *_http_lines(answers, seconds), ""))


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


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _labels(**labels: str) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
