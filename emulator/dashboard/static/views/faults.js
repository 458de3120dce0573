// Faults: what goes wrong on purpose.

import { get } from "../api.js";
import { h } from "../dom.js";

export async function show({ root, signal }) {
  let words = "No fault is switched on.";
  try {
    await get("/faults", { signal });
  } catch (error) {
    if (error.status !== 404) throw error;
    words = "This server cannot inject faults.";
  }
  root.append(h("div", { class: "head" }, h("h1", {}, "Faults")), h("section", { class: "card" }, h("div", { class: "empty" }, words)));
}
