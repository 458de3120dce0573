// Faults: what goes wrong on purpose, until it is switched off.

import { get, postJson, remove } from "../api.js";
import { button, field, h, patch, throttle } from "../dom.js";
import { attempt } from "../toast.js";

const KINDS = [
  ["refuse", "Connection refused", "The destination is not called."],
  ["answer", "Answer instead of the destination", "It is not called; the status and body below come back."],
  ["drop", "Connection dropped", "The destination is called, but its answer never comes through."],
  ["delay", "Held back", "The destination is called after the delay, on the emulator's clock."],
  ["time-out", "Time-out", "The destination is called; no answer comes within the message's timeout."],
  [
    "cut-response",
    "Response cut",
    "Half of the answer's body comes; a complete 2xx head is a success all the same.",
  ],
  ["deliver-twice", "Delivered twice", "Called twice with the same message id."],
  ["out-of-order", "Out of order", "Called after those that are under way at the same time."],
  ["wrong-signature", "Wrong signature", "Signed with a key that nobody has."],
  ["expired-signature", "Expired signature", "Signed ten minutes ago."],
  [
    "next-key-signature",
    "Signed with the next key",
    "As after a rotation that the receiver has not heard of.",
  ],
  ["other-url-signature", "Signed for another URL", "As behind a proxy that rewrites it."],
  ["crash", "Crash", "The emulator loses what is not durable and starts again."],
  ["publish-answer", "Publish answered with an error", "The publish API answers with the status below."],
  ["publish-silence", "Publish never answered", "The publish API stays silent."],
];
const NUMBERS = ["count", "skip", "status", "probability"];

export async function show({ root, signal, on }) {
  const rows = h("tbody");
  const nothing = h("div", { class: "empty" }, "No fault is switched on: everything goes as it should.");
  const all = button(
    "Switch all off",
    async () => {
      await attempt(() => remove("/faults"), "All faults are off");
      await refresh();
    },
    { kind: "danger" },
  );
  const table = h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": "Faults that are on" },
    h(
      "table",
      { class: "fold" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          ["fault", "strikes", "struck"].map((name) => h("th", { scope: "col" }, name)),
          h("th", { scope: "col" }, h("span", { class: "sr" }, "Actions")),
        ),
      ),
      rows,
    ),
  );
  root.append(
    h("div", { class: "head" }, h("h1", { class: "grow" }, "Faults"), all),
    h("section", { class: "card" }, table, nothing),
    form(refresh),
  );

  async function refresh() {
    const { faults } = await get("/faults", { signal });
    patch(
      rows,
      faults,
      (fault) => fault.id,
      (fault) => row(fault, refresh),
    );
    table.hidden = all.hidden = !faults.length;
    nothing.hidden = faults.length > 0;
  }
  const soon = throttle(() => refresh().catch(() => {}), 500);
  on("changed", soon);
  await refresh();
}

function row(fault, refresh) {
  const { id, kind, struck, destination, queue, label, header, body, skip, count, probability, ...effect } =
    fault;
  const where = [
    destination && `destination ${destination}`,
    queue && `queue ${queue}`,
    label && `label ${label}`,
    header && `header ${typeof header === "string" ? header : JSON.stringify(header)}`,
    body && `body ${typeof body === "string" ? body : JSON.stringify(body)}`,
  ].filter(Boolean);
  const how = [
    skip && `after ${skip}`,
    count && (count === 1 ? "once" : `at most ${count} times`),
    probability && `${probability * 100}% of them`,
  ].filter(Boolean);
  const what = Object.entries(effect).map(
    ([name, value]) => `${name} ${typeof value === "string" ? value : JSON.stringify(value)}`,
  );
  return h(
    "tr",
    {},
    h(
      "td",
      {},
      h("b", {}, KINDS.find(([name]) => name === kind)?.[1] ?? kind),
      " ",
      h("code", { class: "quiet" }, kind),
      what.length ? h("div", { class: "quiet break" }, what.join(", ")) : null,
    ),
    h(
      "td",
      { class: "break", data: { label: "strikes" } },
      [where.join(", ") || "everything", ...how].join(", "),
    ),
    h("td", { data: { label: "struck" } }, `${struck}×`),
    h(
      "td",
      { class: "act" },
      button(
        "Switch off",
        async () => {
          await attempt(() => remove(`/faults/${encodeURIComponent(id)}`), "Off");
          await refresh();
        },
        { kind: "small", act: "off" },
      ),
    ),
  );
}

function form(refresh) {
  const words = h("small", { class: "quiet" });
  const kind = h(
    "select",
    { name: "kind" },
    KINDS.map(([name, title]) => h("option", { value: name }, title)),
  );
  const text = (name, label, placeholder, hint) => {
    const input = h("input", {
      type: "text",
      name,
      placeholder: placeholder ?? "",
      inputmode: NUMBERS.includes(name) ? "decimal" : null,
    });
    return { name, input, element: field(label, input, hint) };
  };
  const inputs = [
    text("destination", "Destination", "any", "The URL, or where it begins; * stands for any characters"),
    text("queue", "Queue", "any"),
    text("label", "Label", "any"),
    text("count", "How many", "all"),
    text("skip", "Let pass first", "0"),
    text("probability", "Probability", "1"),
    text("status", "Status", "500"),
    text("responseBody", "Body of the answer", ""),
    text("delay", "Delay", "30s"),
  ];
  const element = (name) => inputs.find((one) => one.name === name)?.element;
  const follow = () => {
    words.textContent = KINDS.find(([name]) => name === kind.value)?.[2] ?? "";
    const answers = kind.value.endsWith("answer");
    element("status").hidden = element("responseBody").hidden = !answers;
    element("delay").hidden = kind.value !== "delay";
  };
  kind.addEventListener("change", follow);
  follow();
  return h(
    "section",
    { class: "card" },
    h("header", {}, h("h2", {}, "Switch a fault on")),
    h(
      "form",
      {
        class: "body stack",
        onsubmit: async (event) => {
          event.preventDefault();
          const given = inputs.filter(({ input, element: one }) => input.value.trim() && !one.hidden);
          const fault = Object.fromEntries(
            given.map(({ name, input }) => [
              name,
              NUMBERS.includes(name) ? Number(input.value) : input.value.trim(),
            ]),
          );
          await attempt(() => postJson("/faults", { kind: kind.value, ...fault }), "On");
          await refresh();
        },
      },
      h("div", { class: "field" }, field("What goes wrong", kind), words),
      h(
        "div",
        { class: "grid2" },
        inputs.map((one) => one.element),
      ),
      h("div", {}, h("button", { class: "button primary", type: "submit" }, "Switch on")),
    ),
  );
}
