// Server-sent events over fetch: EventSource cannot send the Authorization header, and a token in a URL ends in logs.

import { currentToken } from "./session.js";

const RETRY_MS = 1000;

/** Tells `step` (detail: the step), `changed` (detail: kinds), `cleared`, `deadLetters` (how many), and `state` (detail: whether connected). */
export const live = new EventTarget();
/** @type {AbortController | null} */
let controller = null;
/** @type {string | null} */
let lastId = null;

/**
 * Call `action` with the detail of each event of this name, for as long as `signal` is not aborted.
 *
 * @param {string} name
 * @param {(detail: any) => unknown} action
 * @param {AbortSignal} [signal]
 */
export function onLive(name, action, signal) {
  live.addEventListener(name, (event) => action(/** @type {CustomEvent} */ (event).detail), { signal });
}

export function connect() {
  disconnect();
  lastId = null;
  controller = new AbortController();
  run(controller.signal);
}

export function disconnect() {
  controller?.abort();
  controller = null;
}

/** @param {AbortSignal} signal */
async function run(signal) {
  while (!signal.aborted) {
    try {
      await readStream(signal);
    } catch (error) {
      if (signal.aborted) return;
      if (error.gone) return;
    }
    tell("state", false);
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

/** @param {AbortSignal} signal */
async function readStream(signal) {
  /** @type {Record<string, string>} */
  const headers = { Authorization: `Bearer ${currentToken() ?? ""}` };
  if (lastId !== null) headers["Last-Event-ID"] = lastId;
  const response = await fetch("/emulator/events", { headers, signal, credentials: "omit" });
  if (!response.ok)
    throw Object.assign(new Error(String(response.status)), { gone: response.status === 401 });
  tell("state", true);
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop() ?? "";
    blocks.forEach(tellBlock);
  }
}

function tellBlock(block) {
  /** @type {Record<string, string>} */
  const fields = {};
  for (const line of block.split("\n")) {
    const colon = line.indexOf(": ");
    if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 2);
  }
  if (fields.id) lastId = fields.id;
  if (!fields.event) return;
  const data = JSON.parse(fields.data);
  if (data.deadLetters !== undefined) tell("deadLetters", data.deadLetters);
  if (fields.event !== "hello") tell(fields.event, fields.event === "changed" ? data.kinds : data);
}

/** @param {string} name @param {unknown} detail */
function tell(name, detail) {
  live.dispatchEvent(new CustomEvent(name, { detail }));
}
