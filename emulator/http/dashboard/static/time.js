// What time it is for the tenant: the machine's time, or where the manual clock stands.

import { get, postJson } from "./api.js";
import { onLive } from "./live.js";

export const clock = new EventTarget();
let mode = "system";
let standsAt = Date.now();
/** @type {number | null} */
let nextDue = null;

export const nowAt = () => (mode === "manual" ? standsAt : Date.now());
export const isManual = () => mode === "manual";
export const nextDueAt = () => nextDue;

function take(answer) {
  mode = answer.mode ?? mode;
  standsAt = answer.now;
  nextDue = answer.nextDue;
  clock.dispatchEvent(new Event("turned"));
}

export async function readClock() {
  take(await get("/clock"));
}

/** Turn the manual clock; answers how many attempts were made and schedules fired. */
export async function turn(path, body) {
  const answer = await postJson(`/clock/${path}`, body);
  take(answer);
  return answer;
}

// Somebody else may turn it: a test, another tab, the terminal.
onLive("step", (step) => {
  if (mode === "manual" && step.time > standsAt) {
    standsAt = step.time;
    clock.dispatchEvent(new Event("turned"));
  }
});
