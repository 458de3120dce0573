// Times, spans, sizes: one way to write each.

import { h } from "./dom.js";
import { nowAt } from "./time.js";

const pad = (number, width = 2) => String(number).padStart(width, "0");

/** 14:03:07, with the day in front when it is not today. */
export function clockTime(at, { millis = false } = {}) {
  const date = new Date(at);
  const time = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}${millis ? `.${pad(date.getMilliseconds(), 3)}` : ""}`;
  return sameDay(date, new Date(nowAt())) ? time : `${day(date)} ${time}`;
}

/** @param {Date} a @param {Date} b */
const sameDay = (a, b) => a.toDateString() === b.toDateString();
const day = (date) => `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;

/** 420 ms, 12.2 s, 2m 28s, 6h 7m, 3d 4h. */
export function span(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1).replace(/\.?0+$/, "")} s`;
  const seconds = Math.round(ms / 1000);
  /** @type {[number, string][]} */
  const parts = [
    [86_400, "d"],
    [3_600, "h"],
    [60, "m"],
    [1, "s"],
  ];
  const words = [];
  let rest = seconds;
  for (const [size, unit] of parts) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count) words.push(`${count}${unit}`);
  }
  return words.slice(0, 2).join(" ");
}

/** "in 12 s", "3m ago". */
export function relative(at) {
  const away = at - nowAt();
  if (Math.abs(away) < 1000) return "now";
  return away > 0 ? `in ${coarse(away)}` : `${coarse(-away)} ago`;
}

const coarse = (ms) => span(ms < 60_000 ? Math.floor(ms / 1000) * 1000 : Math.floor(ms / 60_000) * 60_000);

/** A <time> that says how long ago, and keeps saying it right; the exact time is in its title. */
export function ago(at) {
  return h(
    "time",
    { datetime: new Date(at).toISOString(), title: new Date(at).toISOString(), data: { at } },
    relative(at),
  );
}

/** A <time> with the time of day. */
export function moment(at, options = {}) {
  return h(
    "time",
    { datetime: new Date(at).toISOString(), title: new Date(at).toISOString() },
    clockTime(at, options),
  );
}

setInterval(() => {
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("time[data-at]"))) {
    const text = relative(Number(element.dataset.at));
    if (element.textContent !== text) element.textContent = text;
  }
}, 1000);

export const count = (number) => number.toLocaleString("en");
export const percent = (share) =>
  share === null || share === undefined ? "–" : `${(share * 100).toFixed(share === 1 ? 0 : 1)}%`;

export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1024 * 1024 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}

/** A state in its colour. */
export const chip = (state) => h("span", { class: `chip ${state}` }, state);
