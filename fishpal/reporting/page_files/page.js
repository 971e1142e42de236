"use strict";
// Tables that sort by a click on a column's head, and scatters whose axes are chosen.

function sortBy(head) {
  const row = head.parentNode, body = row.closest("table").tBodies[0];
  const column = [...row.cells].indexOf(head);
  const down = head.ariaSort !== "descending" && (column > 0 || head.ariaSort === "ascending");
  for (const each of row.cells) each.ariaSort = null;
  head.ariaSort = down ? "descending" : "ascending";
  const key = (line) => {
    const cell = line.cells[column];
    return column === 0 ? cell.textContent : parseFloat(cell.dataset.value);
  };
  const compare = (a, b) => {
    if (column === 0) return down ? b.localeCompare(a) : a.localeCompare(b);
    if (isNaN(a) || isNaN(b)) return isNaN(a) - isNaN(b); // what has no number stays below
    return down ? b - a : a - b;
  };
  body.append(...[...body.rows].sort((a, b) => compare(key(a), key(b))));
}

for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => sortBy(button.parentNode));
}

const HEIGHT = 430, LEFT = 78, RIGHT = 110, TOP = 16, BOTTOM = 58; // of a plot, in pixels

function element(parent, name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

// Logarithmic where all values are above zero and lie far apart.
function scaleOf(values, start, end, least) {
  const room = Math.abs(end - start) / 75; // ticks that fit
  let low = Math.min(...values), high = Math.max(...values);
  const log = low > 0 && high / low > 30;
  if (log) [low, high] = [Math.log10(low), Math.log10(high)];
  const span = Math.max(high - low, least);
  const middle = (low + high) / 2;
  [low, high] = [middle - 0.58 * span, middle + 0.58 * span];
  if (!log && Math.min(...values) >= 0) low = Math.max(low, -0.05 * span);
  const at = (value) => start + ((log ? Math.log10(value) : value) - low) / (high - low) * (end - start);
  return {at, ticks: log ? logTicks(low, high, room) : linearTicks(low, high, room)};
}

function logTicks(low, high, room) {
  const steps = 3 * (high - low) > room ? [1] : [1, 2, 5], found = [];
  for (let power = Math.floor(low); power <= high; power++) {
    for (const step of steps) found.push(step * 10 ** power);
  }
  return found.filter((tick) => Math.log10(tick) >= low && Math.log10(tick) <= high);
}

function linearTicks(low, high, room) {
  const rough = (high - low) / room, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((each) => each * power >= rough) * power, found = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) found.push(i * step);
  return found;
}

function printed(value) {
  for (const [size, unit] of [[1e6, " M"], [1e3, " K"]]) {
    if (Math.abs(value) >= size) return parseFloat((value / size).toPrecision(4)) + unit;
  }
  return String(parseFloat(value.toPrecision(4)));
}

// Names beside their points, moved down until none covers another.
function placeNames(points) {
  const placed = [];
  for (const point of [...points].sort((a, b) => a.top - b.top)) {
    let top = point.top;
    const near = placed.filter((other) => Math.abs(other.left - point.left) < 130);
    for (const other of near) if (top - other.top < 17) top = other.top + 17;
    placed.push({left: point.left, top});
    point.nameTop = top;
  }
}

function axis(svg, scale, end, horizontal, label) {
  const bottom = HEIGHT - BOTTOM, faint = {stroke: "var(--line)"};
  for (const tick of scale.ticks) {
    const place = scale.at(tick);
    if (horizontal) {
      element(svg, "line", {x1: place, x2: place, y1: TOP, y2: bottom, ...faint});
      element(svg, "text", {x: place, y: bottom + 20, "text-anchor": "middle"}, printed(tick));
    } else {
      element(svg, "line", {x1: LEFT, x2: end, y1: place, y2: place, ...faint});
      element(svg, "text", {x: LEFT - 8, y: place + 5, "text-anchor": "end"}, printed(tick));
    }
  }
  const middle = horizontal ? `translate(${(LEFT + end) / 2} ${HEIGHT - 12})`
    : `translate(18 ${(TOP + bottom) / 2}) rotate(-90)`;
  element(svg, "text", {transform: middle, "text-anchor": "middle"}, label);
}

function drawScatter(figure, chart, x, y) {
  const plot = figure.querySelector(".plot"), width = Math.max(plot.clientWidth, 340);
  const end = width - RIGHT, least = {score: 0.02, loss: 0.02}, ends = (key) => chart.points.flatMap(
    (point) => key === "score" ? [...point.interval, point.score] : [point[key]]);
  const across = scaleOf(ends(x), LEFT, end, least[x] ?? 1e-3);
  const up = scaleOf(ends(y), HEIGHT - BOTTOM, TOP, least[y] ?? 1e-3);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("font-size", "14");
  svg.setAttribute("fill", "currentColor");
  svg.setAttribute("aria-label", `${chart.axes[y]} against ${chart.axes[x]}`);
  axis(svg, across, end, true, chart.axes[x]);
  axis(svg, up, end, false, chart.axes[y]);
  const points = chart.points.map(
    (point) => ({point, left: across.at(point[x]), top: up.at(point[y])}));
  placeNames(points);
  for (const {point, left, top, nameTop} of points) {
    const group = element(svg, "g", {class: "point", fill: point.colour, stroke: point.colour});
    const [low, high] = point.interval;
    const bar = {"stroke-width": 1.5, opacity: 0.6};
    if (y === "score") element(group, "line", {x1: left, x2: left, y1: up.at(low), y2: up.at(high), ...bar});
    if (x === "score") element(group, "line", {x1: across.at(low), x2: across.at(high), y1: top, y2: top, ...bar});
    const later = points.slice(points.findIndex((each) => each.point === point) + 1); // drawn over it
    const covered = later.filter((each) => Math.hypot(each.left - left, each.top - top) < 3).length;
    element(group, "circle", {cx: left, cy: top, r: 6 + 4 * covered});
    const name = point.name + (point.untrained ? " (untrained)" : "");
    const place = {x: left + 12 + 4 * covered, y: nameTop + 5, fill: "currentColor", stroke: "none", color: "var(--ink)"};
    element(group, "text", place, name);
    element(group, "title", {}, `${name}: ${printed(point[x])}, ${printed(point[y])}`);
  }
  plot.replaceChildren(svg);
}

for (const figure of document.querySelectorAll(".scatter")) {
  const chart = JSON.parse(figure.querySelector("script").textContent);
  const [x, y] = [figure.querySelector(".x"), figure.querySelector(".y")];
  const draw = () => drawScatter(figure, chart, x.value, y.value);
  for (const [select, chosen] of [[x, "kept"], [y, "score"]]) {
    for (const [key, label] of Object.entries(chart.axes)) {
      select.append(new Option(label, key, false, key === chosen));
    }
    select.addEventListener("change", draw);
  }
  new ResizeObserver(draw).observe(figure);
}
