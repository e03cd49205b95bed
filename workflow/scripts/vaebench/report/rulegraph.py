"""The workflow's rules and what each waits for, drawn as a small SVG from Snakemake's own text."""

import re
from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter
from html import escape

NODE_HEIGHT, ROW, CHARACTER, GAP, SIDE = 26, 46, 7.4, 18, 22


def parse(text: str) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Rule names by node, and (from, to) edges, from `snakemake --rulegraph` in dot or in mermaid."""
    nodes = dict(re.findall(r'^\s*(\w+)\s*\[\s*label\s*=\s*"([^"]+)"', text, re.MULTILINE))
    nodes |= dict(re.findall(r"^\s*(id\d+)\[([^\]=]+)\]", text, re.MULTILINE))
    edges = re.findall(r"^\s*(\w+)\s*--?>\s*(\w+)", text, re.MULTILINE)
    return nodes, [(start, end) for start, end in edges if start in nodes and end in nodes]


def layers(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Nodes by the longest way from a start, each layer ordered by the mean place of what its nodes wait for."""
    before = {node: [start for start, end in edges if end == node] for node in nodes}
    sorter, result = TopologicalSorter(before), []
    sorter.prepare()
    while ready := sorter.get_ready():
        result.append(sorted(ready, key=nodes.index))
        sorter.done(*ready)
    place: dict[str, float] = {}
    for layer in result:
        layer.sort(key=lambda node: sum(place[start] for start in before[node]) / max(1, len(before[node])))
        place |= {node: (number + 0.5) / len(layer) for number, node in enumerate(layer)}
    return result


def draw(text: str) -> str:
    """The rule graph as an SVG element that takes the page's colours; empty when the text holds no rules."""
    nodes, edges = parse(text)
    if not nodes:
        return ""
    order = layers(list(nodes), edges)
    widths = {node: len(name) * CHARACTER + 18 for node, name in nodes.items()}
    full = max(sum(widths[node] + GAP for node in layer) for layer in order)
    spots = _spots(order, widths, full)
    lines = "".join(_edge(spots[start], spots[end], widths[start] / 2, widths[end] / 2) for start, end in edges)
    full += SIDE * len(order)
    boxes = "".join(_box(spots[node], widths[node], nodes[node]) for node in nodes)
    return (
        f'<svg class="rulegraph" viewBox="0 0 {full:.0f} {len(order) * ROW:.0f}" role="img" '
        f'width="{full:.0f}" aria-label="{escape(described(nodes, edges))}">{lines}{boxes}</svg>'
    )


def described(nodes: Mapping[str, str], edges: Sequence[tuple[str, str]]) -> str:
    """The graph in words, for those who do not see it."""
    needs = {name: sorted(nodes[start] for start, end in edges if end == node) for node, name in nodes.items()}
    return ". ".join(f"{name} needs {', '.join(names)}" for name, names in needs.items() if names)


def _spots(order: list[list[str]], widths: Mapping[str, float], full: float) -> dict[str, tuple[float, float]]:
    """The centre of every node; each layer is centred."""
    spots = {}
    for number, layer in enumerate(order):
        x = (full - sum(widths[node] + GAP for node in layer)) / 2
        for node in layer:
            spots[node] = (x + (widths[node] + GAP) / 2, number * ROW + ROW / 2)
            x += widths[node] + GAP
    return spots


def _edge(start: tuple[float, float], end: tuple[float, float], start_half: float, end_half: float) -> str:
    """A line from the foot of one box to the head of the next; where it passes layers, around them at the right."""
    layers_apart = round((end[1] - start[1]) / ROW)
    if layers_apart > 1:
        (x0, y0), (x1, y1) = (start[0] + start_half, start[1]), (end[0] + end_half, end[1])
        out = max(x0, x1) + SIDE * layers_apart
        return f'<path d="M{x0:.0f} {y0:.0f}C{out:.0f} {y0:.0f} {out:.0f} {y1:.0f} {x1:.0f} {y1:.0f}"/>'
    (x0, y0), (x1, y1) = (start[0], start[1] + NODE_HEIGHT / 2), (end[0], end[1] - NODE_HEIGHT / 2)
    middle = (y0 + y1) / 2
    return f'<path d="M{x0:.0f} {y0:.0f}C{x0:.0f} {middle:.0f} {x1:.0f} {middle:.0f} {x1:.0f} {y1:.0f}"/>'


def _box(spot: tuple[float, float], width: float, name: str) -> str:
    x, y = spot[0] - width / 2, spot[1] - NODE_HEIGHT / 2
    return (
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{NODE_HEIGHT}" rx="6"/>'
        f'<text x="{spot[0]:.0f}" y="{spot[1] + 4:.0f}">{escape(name)}</text>'
    )
