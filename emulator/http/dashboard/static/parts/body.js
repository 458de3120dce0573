// Bodies: JSON set out and coloured, text as it is, bytes in hexadecimal, redacted as redacted.

import { button, h } from "../dom.js";
import { size } from "../format.js";
import { copy } from "../toast.js";

const MOST_SHOWN = 200_000;
const TOKENS = /("(?:\\.|[^"\\])*")(\s*:)?|\b(true|false|null)\b|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/g;

/** A body as the API gives it: `text` when it is UTF-8, else `base64`; neither when it is empty. */
export function bodyView(text, base64, { label }) {
  if (text === undefined && base64 === undefined) return h("p", { class: "quiet" }, "empty");
  if (base64 !== undefined) return bytesView(base64, label);
  if (text.startsWith("REDACTED:")) return redactedView(text);
  const pretty = prettyJson(text);
  const shown = (pretty ?? text).slice(0, MOST_SHOWN);
  const code = h(
    "pre",
    { class: `code${pretty ? "" : " wrap"}`, tabindex: "0", role: "region", "aria-label": label },
    pretty ? coloured(shown) : shown,
  );
  return h(
    "div",
    { class: "stack" },
    code,
    foot(new TextEncoder().encode(text).length, pretty ? "JSON" : "text", text),
  );
}

function redactedView(text) {
  return h(
    "div",
    {},
    h(
      "p",
      {},
      h("span", { class: "chip warn" }, "redacted"),
      " The original was delivered; only its digest is shown.",
    ),
    h("p", { class: "mono break quiet" }, text),
  );
}

function bytesView(base64, label) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  return h(
    "div",
    { class: "stack" },
    h(
      "pre",
      { class: "code", tabindex: "0", role: "region", "aria-label": label },
      hexDump(bytes.subarray(0, 4096)),
    ),
    foot(bytes.length, bytes.length > 4096 ? "bytes, the first 4096 shown" : "bytes", base64),
  );
}

function foot(length, kind, text) {
  return h(
    "div",
    { class: "row quiet" },
    `${size(length)} of ${kind}`,
    button("Copy", () => copy(text), { kind: "small plain" }),
  );
}

/** Sixteen bytes a line: offset, hexadecimal, and the printable ones. */
export function hexDump(bytes) {
  const rows = [];
  for (let start = 0; start < bytes.length; start += 16) {
    const slice = [...bytes.subarray(start, start + 16)];
    const hex = slice
      .map((byte) => byte.toString(16).padStart(2, "0"))
      .join(" ")
      .padEnd(47);
    const text = slice.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : ".")).join("");
    rows.push(`${start.toString(16).padStart(6, "0")}  ${hex}  ${text}`);
  }
  return rows.join("\n");
}

function prettyJson(text) {
  if (text.length > MOST_SHOWN || !/^\s*[[{]/.test(text)) return null;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return null;
  }
}

function coloured(text) {
  const parts = [];
  let last = 0;
  for (const match of text.matchAll(TOKENS)) {
    const [whole, string, colon, literal] = match;
    parts.push(text.slice(last, match.index));
    if (string !== undefined)
      parts.push(h("span", { class: colon ? "tok-key" : "tok-str" }, string), colon ?? "");
    else parts.push(h("span", { class: literal ? "tok-lit" : "tok-num" }, whole));
    last = match.index + whole.length;
  }
  parts.push(text.slice(last));
  return parts;
}

/** Header lines as a list of names and values. */
export function headerLines(pairs) {
  if (!pairs.length) return h("p", { class: "quiet" }, "No header lines.");
  return h(
    "dl",
    { class: "lines" },
    pairs.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
  );
}

/** Name–value pairs of a header map `{name: [values]}`. */
export const pairsOf = (map) =>
  Object.entries(map ?? {}).flatMap(([name, values]) => [values].flat().map((value) => [name, value]));
