"""A small graph, and its Mermaid and DOT forms.

The nodes stand for anything: rule tables, states, tasks.
"""

from __future__ import annotations

import json

from compozy.base.record import dataclass

SHAPES = ("box", "round")


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A node; `label` may have several lines, `shape` is `box` or `round`."""

    id: str
    label: str
    shape: str = "box"


@dataclass(frozen=True, slots=True)
class Edge:
    """A directed edge between the ids of two nodes."""

    source: str
    target: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Graph:
    """A titled graph; every edge names nodes that exist."""

    title: str
    nodes: tuple[GraphNode, ...]
    edges: tuple[Edge, ...]


def graph_mermaid(graph: Graph) -> str:
    """Write a graph as a Mermaid flow chart.

    >>> print(graph_mermaid(Graph("t", (GraphNode("a", "A"), GraphNode("b", "B", "round")), (Edge("a", "b", "go"),))))
    ---
    title: t
    ---
    flowchart LR
        n0["A"]
        n1(["B"])
        n0 -- "go" --> n1
    """
    names = {node.id: f"n{number}" for number, node in enumerate(graph.nodes)}
    lines = ["---", f"title: {graph.title}", "---", "flowchart LR"]
    for node in graph.nodes:
        opening, closing = ("([", "])") if node.shape == "round" else ("[", "]")
        lines.append(f"    {names[node.id]}{opening}{_mermaid_text(node.label)}{closing}")
    for edge in graph.edges:
        arrow = f"-- {_mermaid_text(edge.label)} -->" if edge.label else "-->"
        lines.append(f"    {names[edge.source]} {arrow} {names[edge.target]}")
    return "\n".join(lines)


def _mermaid_text(text: str) -> str:
    escaped = text.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;").replace("\n", "<br/>")
    return f'"{escaped}"'


def graph_dot(graph: Graph) -> str:
    """Write a graph in the DOT language.

    >>> print(graph_dot(Graph("t", (GraphNode("a", "A"),), (Edge("a", "a"),))))
    digraph {
        label="t"; labelloc=t; rankdir=LR; node [fontname="sans-serif"]; edge [fontname="sans-serif"];
        "a" [label="A", shape=box];
        "a" -> "a";
    }
    """
    font = 'node [fontname="sans-serif"]; edge [fontname="sans-serif"];'
    lines = ["digraph {", f"    label={_dot_text(graph.title)}; labelloc=t; rankdir=LR; {font}"]
    for node in graph.nodes:
        shape = "box, style=rounded" if node.shape == "round" else "box"
        lines.append(f"    {_dot_text(node.id)} [label={_dot_text(node.label)}, shape={shape}];")
    for edge in graph.edges:
        label = f" [label={_dot_text(edge.label)}]" if edge.label else ""
        lines.append(f"    {_dot_text(edge.source)} -> {_dot_text(edge.target)}{label};")
    return "\n".join([*lines, "}"])


def _dot_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
