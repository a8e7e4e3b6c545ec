"""Lay a directed graph out in layers, left to right, so that no nodes, edges or labels overlap.

The method is that of Sugiyama, Tagawa and Toda (1981): reverse edges that close a cycle, assign nodes to layers by
their longest path, split long edges by dummy nodes (a label is one), order the layers by barycentres, then move each
layer as near to its neighbours as its order allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import repeat

from compozy.base.record import dataclass

GAP_X = 56.0
GAP_Y = 16.0
_SWEEPS = 12
_PORT = 10.0
_STRAIGHT = 6


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels; `body` is the height to which edges attach, all of it when zero."""

    width: float
    height: float
    body: float = 0.0


@dataclass(frozen=True, slots=True)
class Line:
    """An edge to lay out; `label` is the size of its label, or zero."""

    source: str
    target: str
    label: Size


@dataclass(frozen=True, slots=True)
class Spot:
    """A placed box: its centre and its size."""

    x: float
    y: float
    size: Size


@dataclass(frozen=True, slots=True)
class Route:
    """A placed edge and its label.

    `points` run from source to target; from an even one to the next the edge is level, from an odd one
    to the next it crosses the room between two layers.
    """

    points: tuple[tuple[float, float], ...]
    label: Spot | None


@dataclass(frozen=True, slots=True)
class Layout:
    """Spots by node, routes in the order of the edges, and the size of the whole."""

    spots: Mapping[str, Spot]
    routes: tuple[Route, ...]
    size: Size


@dataclass(slots=True)
class _Cell:
    """A node or a placeholder of an edge, in a layer."""

    layer: int
    size: Size
    before: list[_Cell]
    after: list[_Cell]
    attached: float = 0.0
    y: float = 0.0
    order: float = 0.0


def lay_out(nodes: Mapping[str, Size], lines: Sequence[Line]) -> Layout:
    """Lay out nodes and edges; every edge must name nodes, and none may start where it ends."""
    joined = {name for line in lines for name in (line.source, line.target)}
    # Nodes without edges have no layer; among the others they would only widen the drawing.
    single = [name for name in nodes if name not in joined]
    forward = _without_circles([name for name in nodes if name in joined], lines)
    layers_of = _layers([name for name in nodes if name in joined], lines, forward)
    cells = {name: _node_cell(nodes[name], layer) for name, layer in layers_of.items()}
    chains = [
        _chain(cells[_ends(line, ahead)[0]], cells[_ends(line, ahead)[1]], line.label)
        for line, ahead in zip(lines, forward, strict=True)
    ]
    layers = _grouped([*cells.values(), *(cell for chain in chains for cell in chain[1:-1])])
    _order_layers(layers)
    _shift_layers(layers)
    columns = _columns(layers)
    spots = {name: Spot(columns[cell.layer][0], cell.y, cell.size) for name, cell in cells.items()}
    ports = _ports(chains)
    routes = tuple(_route(*placed) for placed in zip(chains, repeat(columns), ports, forward, strict=False))
    return _with_single(spots, routes, {name: nodes[name] for name in single})


def _node_cell(size: Size, layer: int) -> _Cell:
    return _Cell(2 * layer, size, [], [], attached=size.body or size.height)


def _ends(line: Line, ahead: bool) -> tuple[str, str]:
    return (line.source, line.target) if ahead else (line.target, line.source)


def _without_circles(nodes: Sequence[str], lines: Sequence[Line]) -> list[bool]:
    """Return for each edge whether it runs ahead; those that close a circle are turned round."""
    leaving: dict[str, list[int]] = {name: [] for name in nodes}
    for number, line in enumerate(lines):
        leaving[line.source].append(number)
    forward = [True] * len(lines)
    done: set[str] = set()
    for start in nodes:
        if start not in done:
            _turn_round(start, leaving, lines, forward, done)
    return forward


def _turn_round(
    start: str,
    leaving: Mapping[str, Sequence[int]],
    lines: Sequence[Line],
    forward: list[bool],
    done: set[str],
) -> None:
    # Depth first with a stack of its own: a target on the present path closes a circle.
    path = [(start, iter(leaving[start]))]
    above = {start}
    while path:
        name, numbers = path[-1]
        number = next(numbers, None)
        if number is None:
            path.pop()
            above.discard(name)
            done.add(name)
        elif lines[number].target in above:
            forward[number] = False
        elif lines[number].target not in done:
            target = lines[number].target
            above.add(target)
            path.append((target, iter(leaving[target])))


def _layers(nodes: Sequence[str], lines: Sequence[Line], forward: Sequence[bool]) -> dict[str, int]:
    edges = [_ends(line, ahead) for line, ahead in zip(lines, forward, strict=True)]
    layers = dict.fromkeys(nodes, 0)
    # Each pass settles at least one more layer, because circles were removed before.
    for _ in nodes:
        for source, target in edges:
            layers[target] = max(layers[target], layers[source] + 1)
    # A node without predecessors stands best right before what it leads to.
    targets = {target for _, target in edges}
    for name in nodes:
        if name not in targets:
            layers[name] = min(layers[target] for source, target in edges if source == name) - 1
    return layers


def _chain(source: _Cell, target: _Cell, label: Size) -> list[_Cell]:
    """Connect two cells by placeholders, one a layer; the label sits in the middle of an odd layer."""
    chain = [source]
    middle = (source.layer + target.layer) // 2
    middle += 1 - middle % 2
    for layer in range(source.layer + 1, target.layer):
        size = label if layer == middle and label.width else Size(0, 2)
        chain.append(_Cell(layer, size, [], []))
    chain.append(target)
    for first, second in zip(chain, chain[1:], strict=False):
        first.after.append(second)
        second.before.append(first)
    return chain


def _grouped(cells: Sequence[_Cell]) -> list[list[_Cell]]:
    layers: list[list[_Cell]] = [[] for _ in range(max((cell.layer for cell in cells), default=-1) + 1)]
    for cell in cells:
        layers[cell.layer].append(cell)
    return layers


def _order_layers(layers: Sequence[list[_Cell]]) -> None:
    _number(layers)
    # A sweep may make it worse, so the best order so far is kept.
    best, fewest = [list(layer) for layer in layers], _crossings(layers)
    for sweep in range(_SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            for cell in layer:
                beside = cell.before if sweep % 2 == 0 else cell.after
                cell.order = sum(c.order for c in beside) / len(beside) if beside else cell.order
            layer.sort(key=lambda cell: cell.order)
            _number([layer])
        crossings = _crossings(layers)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    for layer, ordered in zip(layers, best, strict=True):
        layer[:] = ordered
    _number(layers)


def _number(layers: Sequence[list[_Cell]]) -> None:
    for layer in layers:
        for order, cell in enumerate(layer):
            cell.order = float(order)


def _crossings(layers: Sequence[list[_Cell]]) -> int:
    total = 0
    for layer in layers:
        ends = sorted((cell.order, after.order) for cell in layer for after in cell.after)
        targets = [target for _, target in ends]
        total += sum(1 for n, first in enumerate(targets) for second in targets[n + 1 :] if second < first)
    return total


def _shift_layers(layers: Sequence[list[_Cell]]) -> None:
    for layer in layers:
        _place(layer, [0.0] * len(layer))
    for sweep in range(2 * _SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            _place(layer, [_wanted_y(cell) for cell in layer])
    top = min((cell.y - cell.size.height / 2 for layer in layers for cell in layer), default=0.0)
    for layer in layers:
        for cell in layer:
            cell.y -= top


def _wanted_y(cell: _Cell) -> float:
    beside = cell.before + cell.after
    # A long edge is drawn straight first, and only then near to its ends.
    weights = [_STRAIGHT if _is_placeholder(cell) and _is_placeholder(other) else 1 for other in beside]
    return sum(w * other.y for w, other in zip(weights, beside, strict=True)) / sum(weights)


def _is_placeholder(cell: _Cell) -> bool:
    return cell.attached == 0


def _place(layer: Sequence[_Cell], wanted: Sequence[float]) -> None:
    """Put cells as near to where they want to be as their order and sizes allow, in least squares."""
    offsets = [0.0]
    for first, second in zip(layer, layer[1:], strict=False):
        offsets.append(offsets[-1] + (first.size.height + second.size.height) / 2 + GAP_Y)
    # Pool adjacent violators: cells that push each other move as one block, to the mean of their wishes.
    blocks: list[tuple[float, int]] = []
    for wish, offset in zip(wanted, offsets, strict=False):
        mean, count = wish - offset, 1
        while blocks and blocks[-1][0] > mean:
            other, size = blocks.pop()
            mean, count = (mean * count + other * size) / (count + size), count + size
        blocks.append((mean, count))
    means = [mean for mean, count in blocks for _ in range(count)]
    for cell, mean, offset in zip(layer, means, offsets, strict=False):
        cell.y = mean + offset


def _columns(layers: Sequence[Sequence[_Cell]]) -> list[tuple[float, float]]:
    """Return the centre and half the width of each layer."""
    columns, left = [], 0.0
    for layer in layers:
        width = max(cell.size.width for cell in layer)
        columns.append((left + width / 2, width / 2))
        left += width + GAP_X / 2
    return columns


def _route(
    chain: Sequence[_Cell], columns: Sequence[tuple[float, float]], ports: Sequence[float], ahead: bool
) -> Route:
    points: list[tuple[float, float]] = []
    label = None
    for number, cell in enumerate(chain):
        centre, half = columns[cell.layer]
        left, right, y = centre - half, centre + half, cell.y
        if number == 0:
            left, y = centre + cell.size.width / 2, y + ports[0]
        elif number == len(chain) - 1:
            right, y = centre - cell.size.width / 2, y + ports[1]
        elif cell.size.width:
            label = Spot(centre, y, cell.size)
        points += [(left, y), (right, y)]
    return Route(tuple(points if ahead else reversed(points)), label)


def _ports(chains: Sequence[Sequence[_Cell]]) -> list[tuple[float, float]]:
    """Return how far below the middle of its first and last cell each edge is attached."""
    offsets: dict[tuple[int, int], float] = {}
    for end in (0, -1):
        sides: dict[int, list[int]] = {}
        for number, chain in enumerate(chains):
            sides.setdefault(id(chain[end]), []).append(number)
        for numbers in sides.values():
            beside = 1 if end == 0 else -2
            # In the order of their next points, so that edges do not cross right at their node.
            ordered = sorted(numbers, key=lambda n: (chains[n][beside].y, chains[n][beside].order))
            step = min(_PORT, _reach(chains[numbers[0]][end]) / len(numbers))
            for position, number in enumerate(ordered):
                offsets[number, end] = (position - (len(ordered) - 1) / 2) * step
    return [(offsets[number, 0], offsets[number, -1]) for number in range(len(chains))]


def _reach(cell: _Cell) -> float:
    return cell.attached - 8


def _with_single(spots: dict[str, Spot], routes: tuple[Route, ...], single: Mapping[str, Size]) -> Layout:
    """Put nodes without edges below the rest, in rows as wide as it."""
    boxes = [*spots.values(), *(route.label for route in routes if route.label)]
    right = max((spot.x + spot.size.width / 2 for spot in boxes), default=0.0)
    bottom = max((spot.y + spot.size.height / 2 for spot in boxes), default=0.0)
    limit = max(right, 720.0)
    x, y = 0.0, bottom + (2 * GAP_Y if spots else 0.0)
    for name, size in single.items():
        if x > 0 and x + size.width > limit:
            x, y = 0.0, y + size.height + GAP_Y
        spots[name] = Spot(x + size.width / 2, y + size.height / 2, size)
        x += size.width + GAP_Y
        right, bottom = max(right, x - GAP_Y), max(bottom, y + size.height)
    return Layout(spots, routes, Size(right, bottom))
