// Small charts, drawn by hand as SVG: bars in stacks, lines, and a spark for a table's cell.

import { h, s } from "../dom.js";
import { clockTime } from "../format.js";

const WIDTH = 600;

/** Stacked bars. `series`: [{name, className, values}], oldest value first. */
export function bars({ label, series, from, to, height = 120, format = (value) => String(value) }) {
  const length = series[0].values.length;
  const totals = Array.from({ length }, (_, place) =>
    series.reduce((sum, one) => sum + one.values[place], 0),
  );
  const most = Math.max(1, ...totals);
  const step = WIDTH / length;
  const body = [];
  for (let place = 0; place < length; place++) {
    let y = height;
    for (const one of series) {
      const tall = (one.values[place] / most) * height;
      if (!tall) continue;
      y -= tall;
      body.push(
        s("rect", {
          class: `fill ${one.className}`,
          x: place * step + step * 0.12,
          y,
          width: step * 0.76,
          height: Math.max(tall, 1),
        }),
      );
    }
  }
  const words = `${label}. Most in one bar: ${format(most)}. ${series.map((one) => `${one.name}: ${sum(one.values)}`).join(", ")}`;
  return framed({ words, body, height, top: format(most), series, from, to, format, length });
}

/** Lines; a null value is a gap. */
export function lines({ label, series, from, to, height = 120, format = (value) => String(value) }) {
  const length = series[0].values.length;
  const all = series.flatMap((one) => one.values).filter((value) => value !== null);
  const most = Math.max(1, ...all);
  const x = (place) => ((place + 0.5) / length) * WIDTH;
  const y = (value) => height - (value / most) * (height - 4);
  const body = series.flatMap((one) => [
    s("path", { class: `stroke ${one.className}`, d: path(one.values, x, y) }),
    ...lonely(one.values).map((place) =>
      s("circle", { class: `fill ${one.className}`, cx: x(place), cy: y(one.values[place]), r: 2 }),
    ),
  ]);
  const words = `${label}. Highest: ${all.length ? format(most) : "nothing yet"}`;
  return framed({
    words,
    body,
    height,
    top: all.length ? format(most) : "",
    series,
    from,
    to,
    format,
    length,
  });
}

/** A line without axes for a table's cell, of the newest values. */
export function spark(values, { className = "c-accent", label }) {
  const most = Math.max(1, ...values);
  const x = (place) => (values.length > 1 ? (place / (values.length - 1)) * 120 : 60);
  const y = (value) => 24 - (value / most) * 22;
  const line = path(values, x, y);
  return s(
    "svg",
    {
      class: `spark chart ${className}`,
      viewBox: "0 0 120 26",
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": label,
    },
    values.length > 1 ? s("path", { class: "soft-fill", d: `${line} L 120 26 L 0 26 Z` }) : null,
    s("path", { class: "stroke", d: line }),
  );
}

function framed({ words, body, height, top, series, from, to, format, length }) {
  const grid = [0, 0.5, 1].map((share) =>
    s("line", { class: "grid", x1: 0, x2: WIDTH, y1: height * share, y2: height * share }),
  );
  const marker = s("line", { class: "grid", y1: 0, y2: height, hidden: true });
  const svg = s(
    "svg",
    {
      viewBox: `0 0 ${WIDTH} ${height}`,
      preserveAspectRatio: "none",
      height,
      role: "img",
      "aria-label": words,
    },
    grid,
    body,
    marker,
  );
  const readout = h("span", {});
  const names = series.map((one) =>
    h("span", { class: one.className }, h("i"), h("span", { class: "soft" }, one.name)),
  );
  const chart = h(
    "figure",
    { class: "chart" },
    top ? h("span", { class: "top", "aria-hidden": "true" }, top) : null,
    svg,
    h(
      "div",
      { class: "axis", "aria-hidden": "true" },
      h("span", {}, clockTime(from)),
      readout,
      h("span", {}, clockTime(to)),
    ),
  );
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const place = Math.min(
      length - 1,
      Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * length)),
    );
    const at = from + ((place + 0.5) / length) * (to - from);
    readout.textContent = `${clockTime(at)} · ${series.map((one) => `${one.name} ${one.values[place] === null ? "–" : format(one.values[place])}`).join(" · ")}`;
    marker.setAttribute("x1", ((place + 0.5) / length) * WIDTH);
    marker.setAttribute("x2", ((place + 0.5) / length) * WIDTH);
    marker.removeAttribute("hidden");
  });
  svg.addEventListener("pointerleave", () => {
    readout.textContent = "";
    marker.setAttribute("hidden", "");
  });
  return h("div", { class: "stack" }, chart, h("div", { class: "legend-row" }, names));
}

function path(values, x, y) {
  let d = "";
  let isDown = false;
  values.forEach((value, place) => {
    if (value === null) {
      isDown = false;
      return;
    }
    d += `${isDown ? "L" : "M"} ${x(place).toFixed(1)} ${y(value).toFixed(1)} `;
    isDown = true;
  });
  return d;
}

/** Values with gaps on both sides, which a line would not show. */
function lonely(values) {
  const isGap = (place) => values[place] === null || values[place] === undefined;
  return values
    .map((_, place) => place)
    .filter((place) => !isGap(place) && isGap(place - 1) && isGap(place + 1));
}

const sum = (values) => values.reduce((total, value) => total + value, 0);
