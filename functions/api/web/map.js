// The map: basemap, cells, and which cell is meant by a click or by Enter.

import * as maplibre from "./maplibre-gl.mjs";
import { get } from "./api.js";
import { bounds, cellAt } from "./grid.js";

maplibre.setWorkerUrl(new URL("./maplibre-gl-worker.mjs", import.meta.url).href);

const COLOURS = {
  light: { water: "#dfe7ec", land: "#f8f7f4", border: "#8c97a0", label: "#4c5761", halo: "#ffffff", edge: "#ffffff", mark: "#12161a", contrast: "#ffffff" },
  dark: { water: "#0d1114", land: "#1d242a", border: "#5d6a75", label: "#aab6c0", halo: "#12171b", edge: "#12171b", mark: "#ffffff", contrast: "#000000" },
};
const EMPTY = { type: "FeatureCollection", features: [] };
const FARTHEST_NORTH = 80;
const CLEAR = 16;

function outline(cell) {
  const [w, s, e, n] = bounds(cell);
  return { type: "Polygon", coordinates: [[[w, s], [e, s], [e, n], [w, n], [w, s]]] };
}

function style(colours) {
  const geojson = () => ({ type: "geojson", data: EMPTY });
  const cells = { ...geojson(), tolerance: 0, buffer: 16 };
  return {
    version: 8,
    sources: { land: geojson(), borders: geojson(), labels: geojson(), cells, chosen: geojson() },
    layers: [
      { id: "water", type: "background", paint: { "background-color": colours.water } },
      { id: "land", type: "fill", source: "land", paint: { "fill-color": colours.land, "fill-antialias": false } },
      {
        id: "cells",
        type: "fill",
        source: "cells",
        paint: { "fill-color": ["get", "colour"], "fill-opacity": ["get", "opacity"], "fill-outline-color": colours.edge },
      },
      { id: "borders", type: "line", source: "borders", paint: { "line-color": colours.border, "line-width": ["interpolate", ["linear"], ["zoom"], 1, 0.4, 6, 1], "line-opacity": 0.6 } },
      {
        id: "labels",
        type: "symbol",
        source: "labels",
        // Only the larger countries where the map is small.
        filter: [">=", ["get", "size"], ["step", ["zoom"], 5, 2, 2.5, 3, 1.2, 4, 0]],
        layout: {
          "text-field": ["get", "name"],
          "text-font": ["Inter", "system-ui", "sans-serif"],
          "text-size": ["interpolate", ["linear"], ["zoom"], 1, 10, 5, 13],
          "text-max-width": 7,
          "text-padding": 14,
          "symbol-sort-key": ["-", ["get", "size"]],
        },
        paint: { "text-color": colours.label, "text-halo-color": colours.halo, "text-halo-width": 1.4 },
      },
      { id: "contrast", type: "line", source: "chosen", paint: { "line-color": colours.contrast, "line-width": 4, "line-opacity": 0.8 } },
      { id: "chosen", type: "line", source: "chosen", paint: { "line-color": colours.mark, "line-width": 2 } },
    ],
  };
}

/** Draws cells and tells what the user does: onmove(), onpick(cell or null), onhover(cell or null, point). */
export class CellMap {
  /** Throws where the browser cannot draw it. `view` is [zoom, latitude, longitude] or null. */
  constructor(theme, view, { onmove, onpick, onhover }) {
    this.level = null;
    this.map = new maplibre.Map({
      container: "map",
      style: style(COLOURS[theme]),
      center: view ? [view[2], view[1]] : [0, 20],
      zoom: view ? view[0] : 1,
      maxZoom: 12,
      dragRotate: false,
      pitchWithRotate: false,
      attributionControl: false,
      fadeDuration: 0,
    });
    this.map.touchZoomRotate.disableRotation();
    this.map.keyboard.disableRotation();
    this.map.addControl(new maplibre.NavigationControl({ showCompass: false }), "bottom-right");
    this.map.addControl(new maplibre.ScaleControl({ maxWidth: 90 }), "bottom-right");
    this.ready = new Promise((resolve) => this.map.once("load", resolve));
    this.#fill();
    this.#basemap();
    this.map.on("moveend", onmove);
    this.map.on("resize", () => this.#fill());
    this.map.on("click", (event) => onpick(this.#at(event.lngLat)));
    this.map.on("mousemove", (event) => onhover(this.#at(event.lngLat), event.point));
    this.map.on("mouseout", () => onhover(null));
    const canvas = this.map.getCanvas();
    canvas.setAttribute("aria-label", "Map. Arrow keys move it, plus and minus zoom, Enter picks the cell in the middle.");
    canvas.addEventListener("keydown", (event) => event.key === "Enter" && onpick(this.#at(this.map.getCenter())));
  }

  /** West, south, east, north of what is seen, for the API; null where that is the whole width of the world. */
  get bbox() {
    const seen = this.map.getBounds();
    const [south, north] = [Math.max(seen.getSouth(), -90), Math.min(seen.getNorth(), 90)];
    const wide = seen.getEast() - seen.getWest();
    const turn = (longitude) => ((((longitude + 180) % 360) + 360) % 360) - 180;
    const [west, east] = wide >= 359.9 ? [-180, 180] : [turn(seen.getWest()), turn(seen.getEast())];
    const digits = wide > 10 ? 2 : 4;
    return [west, south, east, north].map((value) => Number(value.toFixed(digits)));
  }

  /** [zoom, latitude, longitude]. */
  get view() {
    const { lng, lat } = this.map.getCenter();
    const zoom = this.map.getZoom();
    const digits = Math.max(0, Math.ceil((zoom * Math.LN2 + Math.log(512 / 360 / 0.5)) / Math.LN10));
    return [Number(zoom.toFixed(2)), Number(lat.toFixed(digits)), Number((((((lng + 180) % 360) + 360) % 360) - 180).toFixed(digits))];
  }

  set view([zoom, latitude, longitude]) {
    this.map.jumpTo({ zoom, center: [longitude, latitude] });
  }

  /** How wide so many degrees of longitude are now, in pixels. */
  pixels(degrees) {
    return (512 * 2 ** this.map.getZoom() * degrees) / 360;
  }

  /** Go to a box at once, or smoothly where the user asked for it and likes movement. */
  fit([west, south, east, north], { smooth = false } = {}) {
    const clamp = (latitude) => Math.min(Math.max(latitude, -FARTHEST_NORTH), FARTHEST_NORTH);
    const box = [[west, clamp(south)], [east, clamp(north)]];
    this.map.fitBounds(box, { padding: 24, animate: smooth, maxZoom: 11 });
  }

  /** Show cells: [{level, x, y, colour or null}]; without a colour there is only an outline. */
  async show(cells, level) {
    this.level = level;
    const features = cells.map((cell) => ({
      type: "Feature",
      geometry: outline(cell),
      properties: { colour: cell.colour ?? "#888888", opacity: cell.colour ? 0.86 : 0.12 },
    }));
    await this.ready;
    this.map.getSource("cells").setData({ type: "FeatureCollection", features });
  }

  /** Move a cell out from under a box at the top of the map: to the side where there is room, else down. */
  uncover(cell, box) {
    const [west, south, east, north] = bounds(cell);
    const longitude = (west + east) / 2 + 360 * Math.round((this.map.getCenter().lng - (west + east) / 2) / 360);
    const { x, y } = this.map.project([longitude, (south + north) / 2]);
    const [left, right] = [box.offsetLeft, box.offsetLeft + box.offsetWidth];
    const bottom = box.offsetTop + box.offsetHeight;
    if (x < left - CLEAR || x > right + CLEAR || y > bottom + CLEAR) return;
    const beside = left > 4 * CLEAR;
    this.map.panBy(beside ? [x - left + 2 * CLEAR, 0] : [0, y - bottom - 2 * CLEAR], { duration: 300 });
  }

  async mark(cell) {
    await this.ready;
    this.map.getSource("chosen").setData(cell ? { type: "Feature", properties: {}, geometry: outline(cell) } : EMPTY);
  }

  async theme(name) {
    await this.ready;
    for (const layer of style(COLOURS[name]).layers) {
      for (const [property, value] of Object.entries(layer.paint)) this.map.setPaintProperty(layer.id, property, value);
    }
  }

  #at({ lng, lat }) {
    return this.level === null ? null : cellAt(lng, lat, this.level);
  }

  /** One world fills the map: it is not seen twice. */
  #fill() {
    const { clientWidth, clientHeight } = this.map.getContainer();
    this.map.setMinZoom(Math.max(Math.log2(Math.max(clientWidth, clientHeight, 1) / 512), 0));
  }

  async #basemap() {
    const told = await get(new URL("./basemap.json", import.meta.url).href);
    const line = (flat) => {
      const points = [];
      for (let n = 0, x = 0, y = 0; n < flat.length; n += 2) {
        points.push([(x += flat[n]) / told.steps, (y += flat[n + 1]) / told.steps]);
      }
      return points;
    };
    const ring = (flat) => {
      const points = line(flat);
      return [...points, points[0]];
    };
    const shape = (type, coordinates) => ({ type: "Feature", properties: {}, geometry: { type, coordinates } });
    await this.ready;
    this.map.getSource("land").setData(shape("MultiPolygon", told.land.map((rings) => rings.map(ring))));
    this.map.getSource("borders").setData(shape("MultiLineString", told.borders.map(line)));
    const names = told.labels.map(([x, y, size, name]) => ({ ...shape("Point", [x, y]), properties: { name, size } }));
    this.map.getSource("labels").setData({ type: "FeatureCollection", features: names });
  }
}
