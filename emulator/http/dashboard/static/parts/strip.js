// The next seven days of a schedule as a strip of days, in the schedule's own zone.

import { h, s } from "../dom.js";

const DAY = 86_400_000;
const NAMES = ["Su", "Mo", "Tu", "We", "Th", "Fr", "Sa"];

/** `one`: {firings (unix ms), firingsLocal (ISO texts of the zone), offsetMs}. */
export function strip({ firings, firingsLocal, offsetMs, schedule }, now) {
  const today = Math.floor((now + offsetMs) / DAY);
  const days = Array.from({ length: 7 }, (_, place) => ({
    number: today + place,
    times: /** @type {string[]} */ ([]),
  }));
  for (const local of firingsLocal) {
    // The wall clock of the zone at that moment, whatever daylight saving does in between.
    const [date, time] = local.split("T");
    const day = days[Math.floor(Date.parse(`${date}T00:00Z`) / DAY) - today];
    if (day) day.times.push(time.slice(0, 5));
  }
  const isCut = firings.length >= 200;
  const words = `Firings of ${schedule.scheduleId} in the next seven days: ${days.map((day) => `${label(day.number)} ${day.times.length}`).join(", ")}`;
  return h(
    "div",
    { class: "strip", role: "img", "aria-label": words },
    days.map((day, place) => dayCell(day, place === 0 ? ((now + offsetMs) % DAY) / DAY : null, isCut)),
  );
}

function label(number) {
  const date = new Date(number * DAY);
  return `${NAMES[date.getUTCDay()]} ${date.getUTCDate()}`;
}

function dayCell({ number, times }, nowShare, isCut) {
  const isWeekend = [0, 6].includes(new Date(number * DAY).getUTCDay());
  const x = (time) => ((Number(time.slice(0, 2)) * 60 + Number(time.slice(3, 5))) / 1440) * 100;
  const ticks = times.map((time) => s("line", { class: "tick", x1: x(time), x2: x(time), y1: 4, y2: 20 }));
  const count =
    times.length === 0
      ? isCut
        ? "goes on"
        : "–"
      : times.length <= 2
        ? times.join(" ")
        : `${times.length}×, ${times[0]} first`;
  return h(
    "div",
    { class: `day${isWeekend ? " we" : ""}` },
    h("b", {}, label(number)),
    s(
      "svg",
      { viewBox: "0 0 100 22", preserveAspectRatio: "none" },
      s("line", { class: "noon", x1: 50, x2: 50, y1: 8, y2: 16 }),
      times.length === 0 && isCut ? s("rect", { class: "full", x: 0, y: 8, width: 100, height: 8 }) : ticks,
      nowShare === null
        ? null
        : s("line", { class: "now", x1: nowShare * 100, x2: nowShare * 100, y1: 0, y2: 22 }),
    ),
    h("small", { title: times.join(", ") }, count),
  );
}
