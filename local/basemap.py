"""Make the page's basemap, functions/api/web/basemap.json, from Natural Earth.

    npm pack world-atlas && tar xzf world-atlas-*.tgz
    python -m local.basemap package/countries-50m.json

The file is small because lines are whole numbers: each is [x0, y0, dx1, dy1, ...] in units of 1/STEPS degree.
`land` has polygons (lists of rings), `borders` has lines between countries, `labels` has [longitude, latitude,
size, name], the largest first; size is the square root of the area in square degrees.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "functions" / "api" / "web" / "basemap.json"
STEPS = 200
Point: TypeAlias = tuple[float, float]
Line: TypeAlias = list[Point]
_SMALLEST_LABEL = 0.6
_LABEL_GRID = 16
_HALF_TURN = 180


def convert(atlas: dict[str, Any]) -> dict[str, Any]:
    """A TopoJSON document with the objects `land` and `countries` to what the page draws."""
    arcs = _arcs(atlas)
    land = [
        [_whole(ring) for ring in rings if len(_whole(ring)) > 2 * 3]
        for shape in atlas["objects"]["land"]["geometries"]
        for rings in _polygons(shape, arcs)
    ]
    countries = atlas["objects"]["countries"]["geometries"]
    uses = Counter(arc if arc >= 0 else ~arc for shape in countries for arc in _numbers(shape["arcs"]))
    borders = [_whole(arcs[arc]) for arc, count in sorted(uses.items()) if count > 1]
    labels = [label for shape in countries if (label := _label(shape, arcs))]
    return {
        "source": "Natural Earth 1:50m, public domain, by way of world-atlas",
        "steps": STEPS,
        "land": [rings for rings in land if rings],
        "borders": [line for line in borders if len(line) > 2],  # noqa: PLR2004  one point
        "labels": sorted(labels, key=lambda label: -float(label[2])),
    }


def _arcs(atlas: dict[str, Any]) -> list[Line]:
    """Positions in degrees. Source: TopoJSON format specification, "Arcs" and "Transforms"."""
    (scale_x, scale_y), (west, south) = atlas["transform"]["scale"], atlas["transform"]["translate"]
    found = []
    for arc in atlas["arcs"]:
        x = y = 0
        line = []
        for dx, dy in arc:
            x, y = x + dx, y + dy
            line.append((x * scale_x + west, y * scale_y + south))
        found.append(line)
    return found


def _numbers(nested: Any) -> list[int]:
    return [nested] if isinstance(nested, int) else [number for one in nested for number in _numbers(one)]


def _polygons(shape: dict[str, Any], arcs: list[Line]) -> list[list[Line]]:
    parts: list[Any] = {"Polygon": [shape.get("arcs")], "MultiPolygon": shape.get("arcs")}.get(shape["type"]) or []
    return [[_ring(ring, arcs) for ring in rings] for rings in parts]


def _ring(numbers: list[int], arcs: list[Line]) -> Line:
    """A ring out of arcs, of which a negative one runs backwards and the first point of each is shared."""
    line: Line = []
    for number in numbers:
        arc = arcs[number] if number >= 0 else arcs[~number][::-1]
        line += arc[1:] if line else arc
    return _unrolled(line)


def _unrolled(ring: Line) -> Line:
    """A ring that crosses the antimeridian goes on beyond 180 degrees; one around a pole stays as it is."""
    turned, turns = [ring[0]], 0
    for (before, _), (longitude, latitude) in pairwise(ring):
        turns += (longitude - before < -_HALF_TURN) - (longitude - before > _HALF_TURN)
        turned.append((longitude + 360 * turns, latitude))
    return ring if turns else turned


def _whole(line: Line) -> list[int]:
    """Steps from point to point; points that fall together are one."""
    flat: list[int] = []
    last = (0, 0)
    for longitude, latitude in line:
        here = (round(longitude * STEPS), round(latitude * STEPS))
        if flat and here == last:
            continue
        flat += [here[0] - last[0], here[1] - last[1]]
        last = here
    return flat


def _label(shape: dict[str, Any], arcs: list[Line]) -> list[Any] | None:
    """Where a country's name goes: the point of its largest part that is farthest from any edge."""
    outlines = [rings[0] for rings in _polygons(shape, arcs)]
    if not outlines:
        return None
    outline = max(outlines, key=_area)
    size = math.sqrt(_area(outline))
    if size < _SMALLEST_LABEL:
        return None
    longitude, latitude = _inmost(outline)
    return [round(longitude, 2), round(latitude, 2), round(size, 1), shape["properties"]["name"]]


def _area(ring: Line) -> float:
    """Square degrees at the equator: what the Mercator map shows of the poles is no sign of importance."""
    pairs = zip(ring, ring[1:] + ring[:1], strict=True)
    doubled = sum((b[0] - a[0]) * (math.sin(math.radians(a[1])) + math.sin(math.radians(b[1]))) for a, b in pairs)
    return abs(math.degrees(doubled)) / 2


def _inmost(ring: Line) -> Point:
    """The inmost of a grid of points, refined around the best one; names are wide, so height counts more."""
    west, east = min(p[0] for p in ring), max(p[0] for p in ring)
    south, north = min(p[1] for p in ring), max(p[1] for p in ring)
    edges = ring[:: max(1, len(ring) // 150)]
    best, centre = -math.inf, ((west + east) / 2, (south + north) / 2)
    reach_x, reach_y = (east - west) / 2, (north - south) / 2
    for _ in range(3):
        around = centre
        for i in range(_LABEL_GRID + 1):
            for j in range(_LABEL_GRID + 1):
                point = (
                    around[0] + (2 * i / _LABEL_GRID - 1) * reach_x,
                    around[1] + (2 * j / _LABEL_GRID - 1) * reach_y,
                )
                inside = _inside(point, edges)
                distance = min(_distance(point, a, b) for a, b in zip(edges, edges[1:] + edges[:1], strict=True))
                if (distance if inside else -distance) > best:
                    best, centre = (distance if inside else -distance), point
        reach_x, reach_y = reach_x / 6, reach_y / 6
    return centre


def _inside(point: Point, ring: Line) -> bool:
    odd = False
    for a, b in zip(ring, ring[1:] + ring[:1], strict=True):
        if (a[1] > point[1]) != (b[1] > point[1]) and point[0] < (b[0] - a[0]) * (point[1] - a[1]) / (b[1] - a[1]) + a[
            0
        ]:
            odd = not odd
    return odd


def _distance(point: Point, a: Point, b: Point) -> float:
    dx, dy = b[0] - a[0], b[1] - a[1]
    length = dx * dx + dy * dy
    along = max(0.0, min(1.0, ((point[0] - a[0]) * dx + (point[1] - a[1]) * dy) / length)) if length else 0.0
    return math.hypot((point[0] - a[0] - along * dx) / 2, point[1] - a[1] - along * dy)


def main() -> None:
    """Write the basemap."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("atlas", type=Path, help="countries-50m.json of world-atlas")
    atlas = json.loads(parser.parse_args().atlas.read_text(encoding="utf-8"))
    TARGET.write_text(json.dumps(convert(atlas), ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{TARGET}: {TARGET.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
