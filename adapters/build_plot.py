"""A merge's gain and cosine over the layers, one line per kind of linear layer, as an SVG picture.

Drawn here, in a few lines, because a drawing library is no part of what a user installs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from adapters.build_report import TensorGain

WIDTH, HEIGHT, LEFT, TOP, GAP = 760, 200, 56, 34, 46
COLOURS = ("#1b6ca8", "#d1495b", "#3a7d44", "#edae49", "#6a4c93", "#00798c", "#8d6a4f")


def plot(tensors: Sequence[TensorGain]) -> str:
    """Two panels, gain above cosine; x: layer; one colour per module."""
    modules = sorted({tensor.module for tensor in tensors})
    colours = {module: COLOURS[i % len(COLOURS)] for i, module in enumerate(modules)}
    height = TOP + 2 * (HEIGHT + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + 160} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH + 160}" height="{height}" fill="white"/>',
        *_panel(tensors, "gain", "gain: share of the adapter that was stored", TOP, colours),
        *_panel(tensors, "cosine", "cosine: change stored against change wanted", TOP + HEIGHT + GAP, colours),
    ]
    for i, (module, colour) in enumerate(colours.items()):
        y = TOP + 18 * i + 10
        parts.append(f'<rect x="{WIDTH + 20}" y="{y - 9}" width="12" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{WIDTH + 38}" y="{y}">{escape(module)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _panel(tensors: Sequence[TensorGain], field: str, title: str, top: int, colours: dict[str, str]) -> Iterator[str]:
    layers = sorted({tensor.layer for tensor in tensors})
    first, span = layers[0], max(layers[-1] - layers[0], 1)
    values = [getattr(tensor, field) for tensor in tensors]
    high = max(1.05, max(values))
    low = min(0.0, min(values))

    def x(layer: int) -> float:
        return LEFT + (layer - first) / span * (WIDTH - LEFT - 20)

    def y(value: float) -> float:
        return top + HEIGHT - (value - low) / (high - low) * HEIGHT

    yield f'<text x="{LEFT}" y="{top - 8}" font-weight="bold">{title}</text>'
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        yield f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="#dddddd"/>'
        yield f'<text x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.2f}</text>'
    for layer in layers[:: max(1, len(layers) // 16)]:
        yield f'<text x="{x(layer):.1f}" y="{top + HEIGHT + 16}" text-anchor="middle">{layer}</text>'
    for module, colour in colours.items():
        own = sorted((t.layer, getattr(t, field)) for t in tensors if t.module == module)
        points = " ".join(f"{x(layer):.1f},{y(value):.1f}" for layer, value in own)
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>'
        for layer, value in own:
            yield f'<circle cx="{x(layer):.1f}" cy="{y(value):.1f}" r="2.4" fill="{colour}"/>'
