// The grid: CRS84 quad cells, as in the API. A cell is (level, x, y).

/** Side of a cell in degrees. */
export const side = (level) => 360 / 2 ** level;

/** West, south, east, north of a cell. */
export function bounds({ level, x, y }) {
  const s = side(level);
  return [x * s - 180, y * s - 90, (x + 1) * s - 180, (y + 1) * s - 90];
}

/** The cell of a level that holds a place. */
export function cellAt(longitude, latitude, level) {
  const turned = ((((longitude + 180) % 360) + 360) % 360) / side(level);
  return { level, x: Math.floor(turned), y: Math.min(Math.floor((latitude + 90) / side(level)), 2 ** (level - 1) - 1) };
}
