// Numbers, times and places as people read them. Times are UTC throughout, as in the API.

const LOCALE = "en-GB";

/** A number with no more digits than help: 1,707 or 2.13. Null is a dash. */
export function number(value, digits = 2) {
  if (value === null || value === undefined) return "–";
  const written = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: Number.isInteger(value) ? 0 : digits }).format(value);
  return written.replace("-", "−");
}

/** "1 row", "2 rows", "1,707 rows". */
export const many = (count, one, more = `${one}s`) => `${number(count)} ${count === 1 ? one : more}`;

const written = (options) => {
  const format = new Intl.DateTimeFormat(LOCALE, { timeZone: "UTC", ...options });
  return (time) => format.format(time);
};
const DAY = { day: "numeric", month: "short", year: "numeric" };
const FORMATS = {
  hour: written({ ...DAY, hour: "2-digit", minute: "2-digit" }),
  day: written(DAY),
  month: written({ month: "short", year: "numeric" }),
};
const SHORT = {
  hour: written({ day: "numeric", month: "short" }),
  day: written({ day: "numeric", month: "short" }),
  month: FORMATS.month,
};

/** A time as the start of an hour, day or month. */
export const moment = (time, bucket = "hour") => FORMATS[bucket](time);
/** The same for the axis, where there is little room. */
export const tick = (time, bucket) => SHORT[bucket](time);

/** From one time to another, saying no more than is needed. */
export function span(from, to, bucket) {
  const [a, b] = [moment(from, bucket), moment(to, bucket)];
  return a === b ? a : `${a} – ${b}`;
}

/** A latitude and longitude: 34.45° N, 118.12° W. */
export function place(longitude, latitude, side) {
  const digits = side >= 1 ? 1 : side >= 0.1 ? 2 : 3;
  const text = (value, plus, minus) => `${Math.abs(value).toFixed(digits)}° ${value < 0 ? minus : plus}`;
  return `${text(latitude, "N", "S")}, ${text(longitude, "E", "W")}`;
}

/** Degrees of a cell's side, and the kilometres from south to north. */
export function size(side) {
  return `${number(side, side < 0.1 ? 3 : 2)}° (${number(Math.round(side * 111.195))} km)`;
}

export const bytes = (count) =>
  count < 1000 ? `${count} B` : count < 1e6 ? `${number(count / 1000, 0)} kB` : `${number(count / 1e6, 1)} MB`;

/** An element: el("p", {className: "x"}, "text", child). */
export function el(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}
