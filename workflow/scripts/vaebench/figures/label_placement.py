"""Names beside points where there is room for them."""

from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

CHARACTER, LINE = 4.1, 8.5  # width and height of the label type, points
# offsets in points and the side of the text that is kept there, tried in this order
PLACES = (
    *((right, 0, side) for right, side in ((6, "left"), (-6, "right"))),
    *((0, up, "center") for up in (9, -9)),
    *((right, up, side) for up in (8, -8, 16, -16) for right, side in ((6, "left"), (-6, "right"))),
)


def place_labels(
    axes: Axes,
    points: Sequence[tuple[float, float, str, str]],
    lines: Sequence[tuple[Sequence[float], Sequence[float]]],
) -> bool:
    """Write each (x, y, text, colour) beside its point so that nothing is covered; False if there is no room for all.

    `lines` (x values, y values) and texts already there are kept free too. The axes' place and limits must be final.
    """
    scale = 72 / axes.figure.dpi
    size = (axes.bbox.width * scale, axes.bbox.height * scale)
    spots = [_in_points(axes, x, y, size) for x, y, _, _ in points]
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in spots]
    for xs, ys in lines:
        corners = [_in_points(axes, x, y, size) for x, y in zip(xs, ys, strict=True)]
        taken += [Bbox.from_bounds(x - 1, y - 1, 2, 2) for a, b in pairwise(corners) for x, y in _between(a, b)]
    for there in axes.texts:
        extent = there.get_window_extent().translated(-axes.bbox.x0, -axes.bbox.y0)
        taken.append(Bbox(extent.get_points() * scale))
    placed = []
    for (x, y), (_, _, text, _) in zip(spots, points, strict=True):
        for right, up, side in PLACES:
            box = _box(x + right, y + up, side, len(text) * CHARACTER)
            inside = box.x0 >= 0 and box.x1 <= size[0] + 8 and box.y0 >= 0 and box.y1 <= size[1]
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                placed.append((right, up, side))
                break
        else:
            return False
    for (x, y, text, color), (right, up, side) in zip(points, placed, strict=True):
        axes.annotate(
            text, (x, y), (right, up), textcoords="offset points", ha=side, va="center", color=color, fontsize=6.5
        )
    return True


def _between(start: tuple[float, float], end: tuple[float, float]) -> list[tuple[float, float]]:
    """Points along a straight line, about three points of type apart."""
    steps = max(2, round(max(abs(end[0] - start[0]), abs(end[1] - start[1])) / 3))
    (x, y), (across, up) = start, (end[0] - start[0], end[1] - start[1])
    return [(x + across * step / steps, y + up * step / steps) for step in range(steps + 1)]


def _in_points(axes: Axes, x: float, y: float, size: tuple[float, float]) -> tuple[float, float]:
    across, up = axes.transLimits.transform(axes.transScale.transform((x, y)))
    return across * size[0], up * size[1]


def _box(x: float, y: float, side: str, width: float) -> Bbox:
    left = {"left": x, "right": x - width, "center": x - width / 2}[side]
    return Bbox.from_bounds(left, y - LINE / 2, width, LINE)
