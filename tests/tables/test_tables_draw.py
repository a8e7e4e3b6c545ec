"""Pictures: tables as text; graphs as Mermaid, DOT and SVG that nothing in them overlaps."""

from __future__ import annotations

from itertools import combinations
from xml.etree import ElementTree

import pytest
from tests.tables.fakes import read

from compozy.graph.graph import Edge, Graph, GraphNode, graph_dot, graph_mermaid
from compozy.graph.layout import GAP_Y, Layout, Line, Size, Spot, lay_out
from compozy.graph.svg import graph_svg
from compozy.tables.draw import table_graph, table_text

TABLES = """
tables:
- table: redis.driver
  about: The driver.
  hit: unique
  inputs: {mode: {decision: mode}, engine: {setting: redis.engine}}
  outputs: {driver: [valkey, null]}
  sets: {driver: redis.driver}
  rows:
  - {id: kept, when: {mode: [persistent, unset], engine: {not: fakeredis}}, then: {driver: valkey}, because: on disk}
  - {id: outside, then: {driver: null}, because: elsewhere}
- table: mode
  hit: unique
  inputs: {mode: {setting: mode, view: lowered}}
  outputs: {mode: text}
  rows: []
- table: checks
  hit: collect
  for_each: list
  inputs: {kind: {item: provider}}
  rows: [{id: r, when: {kind: x}, finding: {severity: error, text: no good}}]
"""
SQUARE = {name: Size(60, 30) for name in "abcdef"}
EDGES = ["ab", "bc", "cd", "ad", "ae", "eb", "db", "da", "ef"]


def test_a_table_is_shown_aligned() -> None:
    """A table is text with its head, its inputs, and one line a row in columns."""
    assert table_text(read(TABLES)[0]).splitlines() == [
        "redis.driver  (unique; rules.yaml:3)",
        "The driver.",
        "  mode    decision mode",
        "  engine  setting redis.engine",
        "  => driver sets redis.driver",
        "",
        "row      mode                 engine         => driver  because",
        "-------  -------------------  -------------  ---------  ---------",
        "kept     persistent or unset  not fakeredis  valkey     on disk",
        "outside  -                    -              null       elsewhere",
    ]


def test_findings_are_shown_with_severity_and_text() -> None:
    """A table of findings shows their texts, and no empty column of reasons."""
    assert table_text(read(TABLES)[2]).splitlines() == [
        "checks  (collect, for each of list; rules.yaml:17)",
        "  kind  item list[].provider",
        "",
        "row  kind  finding",
        "---  ----  --------------",
        "r    x     error: no good",
    ]


def test_graph_of_tables_shows_readers() -> None:
    """Tables are nodes, decisions are edges."""
    graph = table_graph(read(TABLES))
    assert [node.id for node in graph.nodes] == ["redis.driver", "mode", "checks"]
    assert graph.edges == (Edge("mode", "redis.driver"),)


def test_the_graph_of_tables_may_show_settings() -> None:
    """With inputs, settings and items are round nodes, and views label their edges."""
    graph = table_graph(read(TABLES), inputs=True)
    assert [node.label for node in graph.nodes if node.shape == "round"] == [
        "redis.engine", "mode", "list[].provider",
    ]  # fmt: skip
    assert Edge("setting mode", "mode", "lowered") in graph.edges


def test_text_of_nodes_is_escaped() -> None:
    """No label breaks out of the form that it is written in."""
    label = 'a "b" <c>&\nd'
    graph = Graph("t", (GraphNode("n", label),), ())
    assert '"a #quot;b#quot; #lt;c>&<br/>d"' in graph_mermaid(graph)
    assert r'label="a \"b\" <c>&\nd"' in graph_dot(graph)
    texts = [element.text for element in ElementTree.fromstring(graph_svg(graph)).iter() if element.text]
    assert {'a "b" <c>&', "d"} <= set(texts)


def test_every_node_edge_and_label_is_drawn() -> None:
    """An SVG picture has a box a node, a path an edge, loops included, and a text a label."""
    nodes = (GraphNode("a", "first"), GraphNode("b", "second", "round"), GraphNode("c", "alone"))
    edges = (Edge("a", "b", "go"), Edge("b", "a", "back"), Edge("b", "b", "again"))
    root = ElementTree.fromstring(graph_svg(Graph("title", nodes, edges)))
    classes = [element.get("class") for element in root.iter()]
    assert (classes.count("box"), classes.count("round"), classes.count("edge"), classes.count("label")) == (2, 1, 3, 3)


def test_an_empty_graph_is_drawn() -> None:
    """A graph without nodes is a picture of its title."""
    assert "nothing" in graph_svg(Graph("nothing", (), ()))


def laid_out(label: Size) -> Layout:
    return lay_out(SQUARE | {"alone": Size(80, 30)}, [Line(edge[0], edge[1], label) for edge in EDGES])


def overlap(first: Spot, second: Spot) -> bool:
    wide = (first.size.width + second.size.width) / 2
    high = (first.size.height + second.size.height) / 2
    return abs(first.x - second.x) < wide - 0.01 and abs(first.y - second.y) < high - 0.01


@pytest.mark.parametrize("label", [Size(0, 0), Size(70, 16)])
def test_nothing_overlaps(label: Size) -> None:
    """Boxes and labels keep their distance, circles and long edges included."""
    layout = laid_out(label)
    boxes = [*layout.spots.values(), *(route.label for route in layout.routes if route.label)]
    assert len(boxes) == len(SQUARE) + 1 + (len(EDGES) if label.width else 0)
    apart = [Spot(box.x, box.y, Size(box.size.width, box.size.height + GAP_Y)) for box in boxes]
    assert [pair for pair in combinations(apart, 2) if overlap(*pair)] == []


def test_a_box_stands_in_the_middle_of_its_neighbours() -> None:
    """The target of two boxes stands half way between them."""
    none = Size(0, 0)
    spots = lay_out(SQUARE, [Line("a", "c", none), Line("b", "c", none)]).spots
    assert spots["c"].y == pytest.approx((spots["a"].y + spots["b"].y) / 2)


def test_edges_run_from_source_to_target() -> None:
    """An edge starts at its source's side and ends at its target's, also where it closes a circle."""
    layout = laid_out(Size(0, 0))
    for edge, route in zip(EDGES, layout.routes, strict=True):
        ends = [(layout.spots[edge[0]], route.points[0]), (layout.spots[edge[1]], route.points[-1])]
        for spot, (x, y) in ends:
            assert abs(x - spot.x) == pytest.approx(spot.size.width / 2)
            assert abs(y - spot.y) <= spot.size.height / 2


def test_edges_pass_no_box() -> None:
    """An edge crosses a layer horizontally, between the boxes."""
    layout = laid_out(Size(0, 0))
    for route in layout.routes:
        for (left, y), (right, _) in zip(route.points[::2], route.points[1::2], strict=True):
            passing = Spot((left + right) / 2, y, Size(abs(right - left), 0.1))
            assert [spot for spot in layout.spots.values() if overlap(passing, spot)] == []


def test_everything_lies_on_the_canvas() -> None:
    """No box or path leaves the size that the layout gives."""
    layout = laid_out(Size(70, 16))
    boxes = [*layout.spots.values(), *(route.label for route in layout.routes if route.label)]
    points = [point for route in layout.routes for point in route.points]
    points += [(b.x + side * b.size.width / 2, b.y + side * b.size.height / 2) for b in boxes for side in (-1, 1)]
    assert [p for p in points if not (-0.01 <= p[0] <= layout.size.width + 0.01)] == []
    assert [p for p in points if not (-0.01 <= p[1] <= layout.size.height + 0.01)] == []
