// A message's attempts on a time axis: blocks for attempts, dotted lines for waits. Long waits are shortened (their
// length grows with the logarithm of the time), because an hour beside a millisecond could not be drawn.

import { h, s } from "../dom.js";
import { clockTime, span } from "../format.js";

const HEIGHT = 104;
const BLOCK_Y = 34;
const BLOCK_HEIGHT = 30;
const EDGE = 8;

/**
 * The picture. `story` as the server tells it; `onPick(number)` when an attempt is chosen; `picked` is its number.
 */
export function picture(story, { picked, onPick }) {
  const segments = segmentsOf(story);
  const least = segments.reduce((sum, one) => sum + one.width, 0) + 2 * EDGE;
  const host = h("div", {
    class: "picture",
    role: "group",
    "aria-label": "Attempts on a time axis",
    tabindex: "0",
  });
  const draw = () => {
    const room = host.clientWidth - 28;
    const stretch = Math.min(room > least ? (room - 2 * EDGE) / (least - 2 * EDGE) : 1, 2.2);
    host.replaceChildren(drawn(segments, stretch, least, picked, onPick));
  };
  new ResizeObserver(draw).observe(host);
  return host;
}

const waitWidth = (ms) => 60 + 16 * Math.log10(1 + ms / 10);
const attemptWidth = (ms) => 52 + 12 * Math.log10(1 + ms);

function segmentsOf({ summary, attempts, now }) {
  const segments = [];
  let at = summary.createdAt;
  for (const attempt of attempts) {
    const waited = attempt.startedAt - at;
    if (waited > 0 || attempt.number === 1)
      segments.push(wait(at, attempt.startedAt, attempt, segments.length === 0));
    const ended = attempt.endedAt ?? Math.max(now, attempt.startedAt);
    segments.push({
      kind: "attempt",
      attempt,
      from: attempt.startedAt,
      to: ended,
      width: attemptWidth(ended - attempt.startedAt),
    });
    at = ended;
  }
  if (summary.dueAt && summary.state !== "ACTIVE") {
    segments.push(wait(at, Math.max(summary.dueAt, at), null, segments.length === 0));
    segments.push({
      kind: "planned",
      number: attempts.length + 1,
      from: summary.dueAt,
      to: summary.dueAt,
      width: 58,
    });
  } else if (summary.finishedAt)
    segments.push({ kind: "end", state: summary.state, from: summary.finishedAt, width: 40 });
  return segments;
}

function wait(from, to, attempt, isFirst) {
  const isLate = attempt && attempt.startedAt - attempt.dueAt > 1000;
  const isEarly = attempt && attempt.dueAt - attempt.startedAt > 1000;
  const words = to === from ? "at once" : span(to - from);
  const why = isEarly ? "brought forward" : isLate ? `${span(attempt.startedAt - attempt.dueAt)} late` : "";
  return {
    kind: "wait",
    from,
    to,
    words,
    why,
    isFirst,
    width: to === from ? 54 : Math.max(waitWidth(to - from), 9 * Math.max(words.length, why.length) + 10),
  };
}

function drawn(segments, stretch, least, picked, onPick) {
  const width = Math.max(least, (least - 2 * EDGE) * stretch + 2 * EDGE);
  const svg = s("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "presentation" });
  svg.append(s("line", { class: "base", x1: EDGE, x2: width - EDGE, y1: 78, y2: 78 }));
  let x = EDGE;
  let lastLabelEnd = -Infinity;
  const label = (place, at, millis) => {
    svg.append(s("line", { class: "base", x1: place, x2: place, y1: 74, y2: 82 }));
    if (place < lastLabelEnd) return;
    const text = clockTime(at, { millis });
    lastLabelEnd = place + text.length * 6.6 + 8;
    svg.append(s("text", { x: place, y: 97 }, text));
  };
  for (const one of segments) {
    const wide = one.width * stretch;
    if (one.kind === "wait") {
      if (one.isFirst) label(x, one.from, true);
      svg.append(
        s("line", {
          class: "wait",
          x1: x + 4,
          x2: x + wide - 4,
          y1: BLOCK_Y + BLOCK_HEIGHT / 2,
          y2: BLOCK_Y + BLOCK_HEIGHT / 2,
        }),
        s(
          "text",
          { class: "wait-text", x: x + wide / 2, y: BLOCK_Y + 6, "text-anchor": "middle" },
          one.words,
        ),
        one.why ? s("text", { x: x + wide / 2, y: BLOCK_Y + 32, "text-anchor": "middle" }, one.why) : "",
      );
    } else if (one.kind === "attempt") {
      label(x, one.from, true);
      svg.append(block(one, x, wide, picked === one.attempt.number, onPick));
    } else if (one.kind === "planned") {
      label(x, one.from, false);
      svg.append(
        s(
          "g",
          { class: "block planned s-RETRY" },
          s("rect", { x: x + 1, y: BLOCK_Y, width: wide - 2, height: BLOCK_HEIGHT, rx: 6 }),
          s(
            "text",
            { class: "n", x: x + wide / 2, y: BLOCK_Y + 19, "text-anchor": "middle" },
            `${one.number}…`,
          ),
        ),
        s("text", { x: x + wide / 2, y: BLOCK_Y - 8, "text-anchor": "middle" }, "due"),
      );
    } else {
      svg.append(
        s("circle", {
          class: `s-${one.state}`,
          cx: x + 12,
          cy: BLOCK_Y + BLOCK_HEIGHT / 2,
          r: 5,
          fill: "currentColor",
        }),
      );
    }
    x += wide;
  }
  return svg;
}

function block({ attempt, from, to }, x, wide, isPicked, onPick) {
  const outcome = attempt.outcome ?? "ACTIVE";
  const status = attempt.response
    ? attempt.response.status || "no answer"
    : outcome === "ACTIVE"
      ? "under way"
      : outcome.toLowerCase();
  const took = attempt.outcome ? span(to - from) : "";
  const pick = () => onPick(attempt.number);
  return s(
    "g",
    {
      class: `block s-${outcome}`,
      role: "button",
      tabindex: 0,
      "aria-pressed": String(isPicked),
      "aria-label": `Attempt ${attempt.number}: ${status}${took ? `, took ${took}` : ""}`,
      onclick: pick,
      onkeydown: (event) => {
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          pick();
        }
      },
    },
    s("rect", { x: x + 1, y: BLOCK_Y, width: wide - 2, height: BLOCK_HEIGHT, rx: 6 }),
    s("rect", { class: "ring", x: x - 2, y: BLOCK_Y - 3, width: wide + 4, height: BLOCK_HEIGHT + 6, rx: 9 }),
    s(
      "text",
      { class: "n", x: x + wide / 2, y: BLOCK_Y + 19, "text-anchor": "middle" },
      attempt.response?.status ? `${attempt.number} · ${attempt.response.status}` : String(attempt.number),
    ),
    s("text", { x: x + wide / 2, y: BLOCK_Y - 10, "text-anchor": "middle" }, took),
  );
}
