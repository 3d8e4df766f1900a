"""The grid: integer CRS84 quad cells.

A cell is (level, x, y). Level ``l`` cuts the 360 degrees of longitude into ``2**l`` columns; a cell is
square in degrees, so latitude has ``2**(l-1)`` rows. Rows count from the south pole, columns from the
antimeridian. The parent of (l, x, y) is (l-1, x >> 1, y >> 1). The SQL in ``sql/`` computes the same
expression in the same order of operations, so both sides agree to the last bit.
"""

from __future__ import annotations

from math import floor

MAX_LEVEL = 24
"""Finest level: about 2.4 m at the equator; x still fits in 32 bits."""


def column(longitude: float, level: int) -> int:
    """Column of a longitude in degrees (-180 to 180); 180 itself belongs to the last column."""
    columns = 1 << level
    return min(floor((longitude + 180.0) / 360.0 * columns), columns - 1)


def row(latitude: float, level: int) -> int:
    """Row of a latitude in degrees (-90 to 90); the north pole belongs to the last row."""
    columns = 1 << level
    return min(floor((latitude + 90.0) / 360.0 * columns), max(columns // 2, 1) - 1)


def cell(longitude: float, latitude: float, level: int) -> tuple[int, int]:
    """Cell (x, y) that holds a place given in degrees."""
    return column(longitude, level), row(latitude, level)


def size(level: int) -> float:
    """Side of a cell in degrees."""
    return 360.0 / (1 << level)


def bounds(level: int, x: int, y: int) -> tuple[float, float, float, float]:
    """West, south, east, north of a cell, in degrees."""
    side = size(level)
    return x * side - 180.0, y * side - 90.0, (x + 1) * side - 180.0, (y + 1) * side - 90.0
