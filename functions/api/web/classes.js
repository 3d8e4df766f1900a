// Classes of values for the map: chosen from the data by the smallest spread within classes, then moved to round
// numbers that part the same values. Few values far above the rest are put on a logarithmic scale first.

const MOST = 6;
const MOST_STEPS = 400;

// Lightness rises or falls evenly, also as people with any of the three kinds of colour blindness see it.
const RAMPS = {
  light: ["#f7db98", "#f5b164", "#f28147", "#e54b52", "#b6376f", "#842b75", "#56206b"],
  dark: ["#58307f", "#8b3a8a", "#c04584", "#f1566d", "#fe8a61", "#febc79", "#ffe79d"],
};

/** Colours of so many classes, from low to high. */
export function colours(count, theme) {
  const ramp = RAMPS[theme];
  if (count === 1) return [ramp[theme === "dark" ? 4 : 2]];
  return Array.from({ length: count }, (_, n) => ramp[Math.round((n * (ramp.length - 1)) / (count - 1))]);
}

/**
 * Classes of values, lowest first: [{from, to, low, high, count}]. A class holds from <= value < to, where the limits
 * between classes are round; low and high are the least and greatest value that it has. There are no empty classes.
 */
export function classes(values, most = MOST) {
  const sorted = values.filter((value) => Number.isFinite(value)).sort((a, b) => a - b);
  if (!sorted.length) return [];
  const steps = merged(sorted);
  const logarithmic = skewed(sorted);
  const scaled = steps.map((step) => (logarithmic ? Math.log(step.value) : step.value));
  const starts = breaks(scaled, steps.map((step) => step.count), Math.min(most, steps.length));
  const limits = starts.slice(1).map((start) => {
    const [below, above] = [steps[start - 1].high, steps[start].low];
    const give = logarithmic ? 0.05 * below : 0.015 * (sorted.at(-1) - sorted[0]);
    return roundest(below - give, above + give);
  });
  const edges = [sorted[0], ...new Set(limits.filter((limit) => limit > sorted[0] && limit <= sorted.at(-1)))];
  const found = edges.map((from, n) => {
    const held = sorted.filter((value) => value >= from && (n + 1 === edges.length || value < edges[n + 1]));
    return { from, to: edges[n + 1] ?? sorted.at(-1), low: held[0], high: held.at(-1), count: held.length };
  });
  return found.filter((one) => one.count);
}

/** Index of the class that holds a value; -1 where it is none. */
export function classOf(value, found) {
  if (value === null || value === undefined) return -1;
  for (let n = found.length - 1; n >= 0; n--) if (value >= found[n].from) return n;
  return -1;
}

function skewed(sorted) {
  return sorted[0] > 0 && sorted.at(-1) / sorted[Math.floor(sorted.length / 2)] > 8;
}

/** Equal values as one; where there are very many values, neighbours of equal rank too. */
function merged(sorted) {
  const steps = [];
  for (const value of sorted) {
    const last = steps.at(-1);
    if (last && last.value === value) last.count++;
    else steps.push({ value, low: value, high: value, count: 1 });
  }
  if (steps.length <= MOST_STEPS) return steps;
  const size = Math.ceil(steps.length / MOST_STEPS);
  return Array.from({ length: Math.ceil(steps.length / size) }, (_, n) => {
    const part = steps.slice(n * size, (n + 1) * size);
    const count = part.reduce((sum, step) => sum + step.count, 0);
    const mean = part.reduce((sum, step) => sum + step.value * step.count, 0) / count;
    return { value: mean, low: part[0].low, high: part.at(-1).high, count };
  });
}

/** Where each class begins, so that the squares of distances to the classes' means add up to the least. */
function breaks(values, counts, classCount) {
  const n = values.length;
  const [weight, sum, square] = [[0], [0], [0]];
  for (let i = 0; i < n; i++) {
    weight.push(weight[i] + counts[i]);
    sum.push(sum[i] + counts[i] * values[i]);
    square.push(square[i] + counts[i] * values[i] ** 2);
  }
  const spread = (i, j) => square[j] - square[i] - (sum[j] - sum[i]) ** 2 / (weight[j] - weight[i]);
  let cost = Array.from({ length: n + 1 }, (_, j) => (j ? spread(0, j) : 0));
  const starts = [];
  for (let k = 2; k <= classCount; k++) {
    const next = Array(n + 1).fill(Infinity);
    const start = Array(n + 1).fill(0);
    for (let j = k; j <= n; j++) {
      for (let i = k - 1; i < j; i++) {
        const total = cost[i] + spread(i, j);
        if (total < next[j]) [next[j], start[j]] = [total, i];
      }
    }
    cost = next;
    starts.push(start);
  }
  const found = [];
  for (let j = n, k = starts.length - 1; k >= 0; k--) found.unshift((j = starts[k][j]));
  return [0, ...found];
}

/** The number above one and up to another that has the fewest digits. */
function roundest(below, above) {
  for (let power = Math.floor(Math.log10(Math.max(Math.abs(below), Math.abs(above), 1e-9))) + 1; power > -9; power--) {
    for (const step of [5, 2, 1]) {
      const unit = step * 10 ** power;
      const candidate = Math.ceil((below + unit * 1e-9) / unit) * unit;
      if (candidate > below && candidate <= above) return Number(candidate.toPrecision(12));
    }
  }
  return above;
}
