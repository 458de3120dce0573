// Elements without a framework: h() makes one, patch() brings a list up to date without losing the focus.

const SVG = "http://www.w3.org/2000/svg";

/** The element of the page with this id, which index.html holds. Throws when there is none. */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no element #${id}`);
  return found;
}

/** The element that has the focus. */
export const focused = () => /** @type {HTMLElement | null} */ (document.activeElement);

/** An HTML element. `props`: attributes, `on…` listeners, `data` for dataset; falsy children are left out. */
export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** An SVG element, made the same way. */
export function s(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(
    ...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

/**
 * Bring `container`'s children in step with `items`: unchanged rows stay as they are, a changed row is drawn anew
 * and, if the focus was in it, gets it back on the element with the same `data-act`.
 */
export function patch(container, items, keyOf, draw) {
  const known = new Map([...container.children].map((child) => [child.dataset.key, child]));
  const wanted = items.map((item) => {
    const key = String(keyOf(item));
    const stamp = JSON.stringify(item);
    const present = known.get(key);
    if (present && present.dataset.stamp === stamp) return present;
    const drawn = draw(item);
    drawn.dataset.key = key;
    drawn.dataset.stamp = stamp;
    if (present?.contains(document.activeElement)) {
      const act = focused()?.dataset.act;
      present.replaceWith(drawn);
      drawn.querySelector(`[data-act="${CSS.escape(act ?? "")}"]`)?.focus();
    }
    return drawn;
  });
  const keep = new Set(wanted);
  for (const child of [...container.children]) if (!keep.has(child)) child.remove();
  wanted.forEach((child, place) => {
    if (container.children[place] !== child) container.insertBefore(child, container.children[place] ?? null);
  });
}

/**
 * A button that is busy while its action runs.
 *
 * @param {string} text
 * @param {(event: Event) => unknown} action
 * @param {{kind?: string, act?: string, title?: string, disabled?: boolean, pressed?: boolean}} [options] `kind`:
 *   further classes; `act`: the name by which patch() gives the focus back
 */
export function button(text, action, { kind = "", act, title, disabled, pressed } = {}) {
  const element = h(
    "button",
    {
      type: "button",
      class: `button ${kind}`,
      title,
      disabled,
      data: act ? { act } : {},
      "aria-pressed": pressed === undefined ? null : String(pressed),
      onclick: async (event) => {
        event.preventDefault();
        element.disabled = true;
        try {
          await action(event);
        } finally {
          if (element.isConnected) element.disabled = false;
        }
      },
    },
    text,
  );
  return element;
}

/** A labelled form field around `input`. */
export function field(label, input, hint = "") {
  return h("label", { class: "field" }, h("span", {}, label), input, hint ? h("small", {}, hint) : null);
}

/** At most one call in each `ms`, the last one always. */
export function throttle(action, ms) {
  /** @type {ReturnType<typeof setTimeout> | null} */
  let timer = null;
  let again = false;
  const run = async () => {
    timer = setTimeout(() => {
      timer = null;
      if (again) {
        again = false;
        run();
      }
    }, ms);
    await action();
  };
  return () => {
    if (timer === null) run();
    else again = true;
  };
}
