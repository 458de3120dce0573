// A run's steps on a time axis: a row each, branches of one parallel step beside each other on a common ground. Long
// spans are drawn shorter (by the logarithm of their time): a week's sleep beside a millisecond could not be drawn.

import { h, s } from "../dom.js";
import { clockTime, span } from "../format.js";

const ROW = 26;
const TOP = 8;
const WIDE_NAMES = 190;
const NARROW_NAMES = 104;
const COLOURS = {
  STEP_SUCCESS: "DELIVERED",
  STEP_PROGRESS: "ACTIVE",
  STEP_RETRY: "RETRY",
  STEP_FAILED: "FAILED",
  STEP_CANCELED: "CANCELED",
};
const WORDS = {
  STEP_SUCCESS: "done",
  STEP_PROGRESS: "under way",
  STEP_RETRY: "will be tried again",
  STEP_FAILED: "failed",
  STEP_CANCELED: "cancelled",
};
const WAITING = new Set(["SleepFor", "SleepUntil", "Wait", "WaitForWebhook"]);

/** How a step stands, in words. */
export function stepWords(bar) {
  if (bar.waitsFor) return `waits for ${bar.waitsFor}`;
  if (bar.child && bar.state === "STEP_PROGRESS") return `waits for ${bar.child}`;
  const took =
    bar.endedAt === null || bar.endedAt === undefined ? "" : `, ${span(bar.endedAt - bar.startedAt)}`;
  const failures = bar.failures.length
    ? `, ${bar.failures.length} failed ${bar.failures.length === 1 ? "attempt" : "attempts"}`
    : "";
  return `${WORDS[bar.state]}${took}${failures}`;
}

/** The picture. `onPick(place)` when a step is chosen; `picked` is its place. */
export function runPicture(story, { picked, onPick }) {
  const place = axis(story);
  const host = h("div", {
    class: "picture run-picture",
    role: "group",
    "aria-label": "Steps on a time axis",
    tabindex: "0",
  });
  const draw = () => {
    const names = host.clientWidth < 560 ? NARROW_NAMES : WIDE_NAMES;
    const room = Math.max(host.clientWidth - 28 - names - 90, 120);
    // On a phone the axis is pressed into the room there is, rather than cut off.
    const least = host.clientWidth < 560 ? 0.1 : 1;
    const stretch = Math.max(least, Math.min(room / place.width, 3));
    host.replaceChildren(drawn(story, place, stretch, names, picked, onPick));
  };
  new ResizeObserver(draw).observe(host);
  return host;
}

/** Where each instant lies, in pixels from the beginning. */
function axis({ bars, summary, now }) {
  const times = new Set([summary.createdAt, summary.endedAt ?? now]);
  for (const bar of bars)
    for (const at of [bar.startedAt, endOf(bar, now), ...bar.failures.map((one) => one.at)]) times.add(at);
  const sorted = [...times].sort((a, b) => a - b);
  const at = new Map([[sorted[0], 0]]);
  let x = 0;
  sorted.slice(1).forEach((time, place) => {
    x += 16 + 12 * Math.log10(1 + (time - sorted[place]) / 10);
    at.set(time, x);
  });
  return { at, width: Math.max(x, 1), sorted };
}

const endOf = (bar, now) => bar.endedAt ?? bar.dueAt ?? bar.deadlineAt ?? Math.max(now, bar.startedAt);

function drawn(story, { at, width, sorted }, stretch, names, picked, onPick) {
  const { bars, now } = story;
  const x = (time) => names + at.get(time) * stretch;
  const height = TOP + bars.length * ROW + 26;
  const total = names + width * stretch + 90;
  const svg = s("svg", { width: total, height, viewBox: `0 0 ${total} ${height}`, role: "presentation" });
  for (const [first, count] of parallels(bars))
    svg.append(
      s("rect", {
        class: "ground",
        x: 2,
        y: TOP + first * ROW - 1,
        width: total - 4,
        height: count * ROW,
        rx: 6,
      }),
    );
  bars.forEach((bar, place) => {
    svg.append(row(bar, place, { x, now, total, names }, picked === place, onPick));
  });
  const foot = TOP + bars.length * ROW + 6;
  svg.append(s("line", { class: "base", x1: names, x2: total - 80, y1: foot, y2: foot }));
  let free = -Infinity;
  for (const time of sorted) {
    if (x(time) < free) continue;
    const text = clockTime(time);
    svg.append(s("text", { x: x(time), y: foot + 15 }, text));
    free = x(time) + text.length * 6.8 + 10;
  }
  return svg;
}

/** Runs of rows that belong to one parallel step: first row and how many. */
function parallels(bars) {
  const found = new Map();
  bars.forEach((bar, place) => {
    if (!bar.isParallel) return;
    const known = found.get(bar.group) ?? [place, 0];
    found.set(bar.group, [known[0], known[1] + 1]);
  });
  return found.values();
}

function row(bar, place, { x, now, total, names }, isPicked, onPick) {
  const letters = names === WIDE_NAMES ? 26 : 14;
  const y = TOP + place * ROW;
  const from = x(bar.startedAt);
  const to = Math.max(x(endOf(bar, now)), from + 6);
  const isOpen = bar.endedAt === null || bar.endedAt === undefined;
  const pick = () => onPick(place);
  const dashes = WAITING.has(bar.kind) || isOpen ? "planned" : "";
  return s(
    "g",
    {
      class: `block s-${COLOURS[bar.state]} ${dashes}`,
      role: "button",
      tabindex: 0,
      "aria-pressed": String(isPicked),
      data: { act: `step-${place}` },
      "aria-label": `${bar.name}${bar.kind ? `, ${bar.kind}` : ""}: ${stepWords(bar)}`,
      onclick: pick,
      onkeydown: (event) => {
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          pick();
        }
      },
    },
    s("rect", { class: "hit", x: 2, y, width: total - 4, height: ROW - 2 }),
    s(
      "text",
      { x: 8, y: y + 16 },
      bar.name.length > letters ? `${bar.name.slice(0, letters - 1)}…` : bar.name,
    ),
    s("rect", { x: from, y: y + 4, width: to - from, height: ROW - 10, rx: 4 }),
    s("rect", { class: "ring", x: from - 3, y: y + 1, width: to - from + 6, height: ROW - 4, rx: 6 }),
    bar.failures.map((one) =>
      s("circle", {
        class: "s-FAILED",
        cx: x(one.at),
        cy: y + ROW / 2 - 1,
        r: 4,
        fill: "currentColor",
        stroke: "var(--card)",
        "stroke-width": 1.5,
      }),
    ),
    s("text", { x: to + 6, y: y + 16 }, bar.kind),
  );
}
