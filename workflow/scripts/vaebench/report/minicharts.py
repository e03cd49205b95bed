"""Small line charts as inline SVG: the training curves of one run, in the page's own colours."""

import math
from collections.abc import Sequence
from html import escape

from vaebench.results.words import number

WIDTH, HEIGHT, MARGIN = 220, 90, 4


def line_chart(title: str, lines: Sequence[tuple[str, Sequence[float], Sequence[float]]]) -> str:
    """One small chart of (class name, xs, ys) lines on a common scale, its range in words for screen readers."""
    points = [(x, y) for _, xs, ys in lines for x, y in zip(xs, ys, strict=True) if math.isfinite(y)]
    if not points:
        return ""
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    bottom, top = min(y for _, y in points), max(y for _, y in points)
    drawn = "".join(_polyline(name, xs, ys, (left, right, bottom, top)) for name, xs, ys in lines)
    last = [y for _, _, ys in lines for y in ys[-1:] if math.isfinite(y)]
    words = f"{title}: from {number(points[0][1])} to {number(last[-1]) if last else '–'} over {number(right)} epochs"
    return (
        f'<figure class="mini"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(words)}">{drawn}</svg>'
        f'<div class="range"><span>{number(bottom)}</span><span>{number(top)}</span></div></figure>'
    )


def _polyline(name: str, xs: Sequence[float], ys: Sequence[float], box: tuple[float, float, float, float]) -> str:
    left, right, bottom, top = box
    wide, tall = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN
    spots = " ".join(
        f"{MARGIN + wide * (x - left) / ((right - left) or 1):.1f},"
        f"{MARGIN + tall * (1 - (y - bottom) / ((top - bottom) or 1)):.1f}"
        for x, y in zip(xs, ys, strict=True)
        if math.isfinite(y)
    )
    return f'<polyline class="{name}" points="{spots}"/>'
