"""Draw a graph as a stand-alone SVG picture; `layout` decides the positions.

Every text of a node, label or title is escaped, because names come from the files of users.
"""

from __future__ import annotations

from html import escape

from compozy.graph.graph import Edge, Graph, GraphNode
from compozy.graph.layout import Layout, Line, Route, Size, Spot, lay_out

_CHARACTER = 7.0
_LINE = 16.0
_BASELINE = 4.2
_MARGIN = 24.0
_TITLE = 34.0
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#1f2933;text-anchor:middle}"
    ".title{font-size:16px;font-weight:600;text-anchor:start}"
    ".label{font-size:11px;fill:#52606d;paint-order:stroke;stroke:#fff;stroke-width:4px}"
    ".box{fill:#eef4fb;stroke:#3b6ea5}.round{fill:#f5f5f4;stroke:#78716c}"
    ".edge{fill:none;stroke:#7b8794;stroke-width:1.3}"
)

_TIP = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto"><path d="M0 0L8 4L0 8z" fill="#7b8794"/></marker></defs>'
)


def graph_svg(graph: Graph) -> str:
    """Draw a graph as a stand-alone SVG picture, layers from left to right."""
    loops = _loops(graph)
    edges = [edge for edge in graph.edges if edge.source != edge.target]
    sizes = {node.id: _node_size(node, loops.get(node.id)) for node in graph.nodes}
    layout = lay_out(sizes, [Line(edge.source, edge.target, _text_size(edge.label)) for edge in edges])
    width, height = _canvas(graph, layout)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img" aria-label="{escape(graph.title)}">',
        f"<style>{_STYLE}</style>",
        _TIP,
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#fff"/>',
        f'<text class="title" x="{_MARGIN:.0f}" y="{_TITLE / 2 + 6:.0f}">{escape(graph.title)}</text>',
        f'<g transform="translate({_MARGIN:.0f} {_TITLE + 8:.0f})">',
        *(_edge_svg(route) for route in layout.routes),
        *(_node_svg(node, layout.spots[node.id], loops.get(node.id)) for node in graph.nodes),
        *(_label_svg(edge.label, r.label) for edge, r in zip(edges, layout.routes, strict=True) if r.label),
        "</g></svg>",
    ]
    return "\n".join(parts) + "\n"


def _loops(graph: Graph) -> dict[str, Edge]:
    """Return one loop for each node; several loops of a node share one arrow, which lists their labels."""
    labels: dict[str, list[str]] = {}
    for edge in graph.edges:
        if edge.source == edge.target:
            labels.setdefault(edge.source, []).append(edge.label)
    return {node: Edge(node, node, ", ".join(filter(None, named))) for node, named in labels.items()}


def _canvas(graph: Graph, layout: Layout) -> tuple[float, float]:
    title = len(graph.title) * _CHARACTER * 1.4
    return max(layout.size.width, title) + 2 * _MARGIN, layout.size.height + _TITLE + 8 + _MARGIN


def _text_size(text: str) -> Size:
    lines = text.split("\n")
    return Size(max(map(len, lines)) * _CHARACTER, len(lines) * _LINE) if text else Size(0, 0)


def _node_size(node: GraphNode, loop: Edge | None) -> Size:
    text = _text_size(node.label)
    # A loop is drawn above its node; the same room below keeps the node in the middle of its spot.
    above = 2 * (_LINE + 14) if loop else 0
    label = _text_size(loop.label).width if loop else 0
    body = text.height + 14
    return Size(max(text.width + 24, label), body + above, body)


def _node_svg(node: GraphNode, spot: Spot, loop: Edge | None) -> str:
    text = _text_size(node.label)
    width, height = text.width + 24, text.height + 14
    radius = height / 2 if node.shape == "round" else 4
    box = (
        f'<rect class="{node.shape}" x="{spot.x - width / 2:.1f}" y="{spot.y - height / 2:.1f}" '
        f'width="{width:.1f}" height="{height:.1f}" rx="{radius:.1f}"/>'
    )
    lines = node.label.split("\n")
    top = spot.y - (len(lines) - 1) * _LINE / 2
    texts = [
        f'<text x="{spot.x:.1f}" y="{top + number * _LINE + _BASELINE:.1f}">{escape(line)}</text>'
        for number, line in enumerate(lines)
    ]
    return "".join([_loop_svg(loop, spot, height) if loop else "", box, *texts])


def _loop_svg(loop: Edge, spot: Spot, height: float) -> str:
    top = spot.y - height / 2
    path = f"M{spot.x - 16:.1f} {top:.1f}C{spot.x - 16:.1f} {top - 22:.1f} {spot.x + 16:.1f} {top - 22:.1f} "
    arrow = f'<path class="edge" d="{path}{spot.x + 16:.1f} {top:.1f}" marker-end="url(#tip)"/>'
    return arrow + _label_svg(loop.label, Spot(spot.x, top - 24, _text_size(loop.label)))


def _edge_svg(route: Route) -> str:
    (x, y), *rest = route.points
    path = [f"M{x:.1f} {y:.1f}"]
    for number, (to_x, to_y) in enumerate(rest):
        if number % 2 == 1:
            middle = (x + to_x) / 2
            path.append(f"C{middle:.1f} {y:.1f} {middle:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}")
        # An arrow head on a line of no length would point anywhere.
        elif (x, y) != (to_x, to_y):
            path.append(f"L{to_x:.1f} {to_y:.1f}")
        x, y = to_x, to_y
    return f'<path class="edge" d="{"".join(path)}" marker-end="url(#tip)"/>'


def _label_svg(label: str, spot: Spot) -> str:
    return f'<text class="label" x="{spot.x:.1f}" y="{spot.y + _BASELINE:.1f}">{escape(label)}</text>'
