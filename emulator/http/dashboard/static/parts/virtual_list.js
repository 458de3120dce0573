// A list that holds thousands of rows and draws those in view. Rows have one height; the next page is asked for when
// its end comes near.

import { h, patch } from "../dom.js";

const ROW = 38;
const SPARE = 8;

/**
 * `draw(item, place)` makes a row; `more()` is called near the end. Answers {element, show(items), move(step)}.
 */
export function virtualList({ label, head, draw, more, keyOf }) {
  const spacer = h("div", { role: "presentation" });
  const viewport = h(
    "div",
    { class: "viewport", role: "rowgroup", tabindex: "0", "aria-label": label, data: { moves: "true" } },
    spacer,
  );
  const table = h(
    "div",
    { class: "list", role: "table", "aria-label": label },
    h("div", { role: "rowgroup" }, head),
    viewport,
  );
  let items = [];
  let here = -1;
  spacer.style.position = "relative";

  function redraw() {
    const first = Math.max(0, Math.floor(viewport.scrollTop / ROW) - SPARE);
    const last = Math.min(
      items.length,
      Math.ceil((viewport.scrollTop + viewport.clientHeight) / ROW) + SPARE,
    );
    spacer.style.height = `${items.length * ROW}px`;
    const shown = items.slice(first, last).map((item, offset) => ({ item, isHere: first + offset === here }));
    patch(
      spacer,
      shown,
      ({ item }) => keyOf(item),
      ({ item, isHere }) => draw(item, isHere),
    );
    [...spacer.children].forEach((row, offset) => {
      row.style.top = `${(first + offset) * ROW}px`;
      row.setAttribute("aria-rowindex", first + offset + 2);
    });
    if (last > items.length - 60) more();
  }

  viewport.addEventListener("scroll", redraw, { passive: true });
  viewport.addEventListener("move", ({ detail }) => move(detail));
  new ResizeObserver(redraw).observe(viewport);

  function move(step) {
    if (!items.length) return;
    here = Math.min(items.length - 1, Math.max(0, here + step));
    const top = here * ROW;
    if (top < viewport.scrollTop) viewport.scrollTop = top;
    if (top + ROW > viewport.scrollTop + viewport.clientHeight)
      viewport.scrollTop = top + ROW - viewport.clientHeight;
    redraw();
    spacer.querySelector(".here a")?.focus({ preventScroll: true });
  }

  return {
    element: table,
    move,
    show(next, total) {
      items = next;
      table.setAttribute("aria-rowcount", total + 1);
      redraw();
    },
  };
}
