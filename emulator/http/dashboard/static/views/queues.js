// Queues and flow-control keys: what is in them and under way, as small live charts; pause, resume, pin.

import { get, post, postJson, remove, query as toQuery } from "../api.js";
import { button, field, h, patch } from "../dom.js";
import { count } from "../format.js";
import { spark } from "../parts/charts.js";
import { attempt } from "../toast.js";

const SAMPLES = 60;
const SAMPLE_MS = 1000;

export async function show({ root, signal, on }) {
  const samples = new Map();
  const queues = h("tbody");
  const keys = h("tbody");
  const noQueues = h(
    "div",
    { class: "empty" },
    "No queue yet. One is made when something is enqueued, or below.",
  );
  const noKeys = h(
    "div",
    { class: "empty" },
    "No flow-control key yet. One is made by the first message that names it.",
  );
  const overall = h("span", { class: "sub" });
  const moreKeys = h("span", { class: "more", hidden: true }, "not all keys; those in use come first");
  root.append(
    h("div", { class: "head" }, h("h1", {}, "Queues & flow control"), overall),
    h(
      "section",
      { class: "card" },
      h("header", {}, h("h2", {}, "Queues"), h("span", { class: "more" }, "charts: the last minute")),
      tableOf(["queue", "depth", "in flight", "parallelism", ""], queues, "Queues"),
      noQueues,
      h("div", { class: "body" }, queueForm(refresh)),
    ),
    h(
      "section",
      { class: "card" },
      h("header", {}, h("h2", {}, "Flow control"), moreKeys),
      tableOf(["key", "waiting", "in flight", "rate", ""], keys, "Flow-control keys"),
      noKeys,
    ),
  );

  async function refresh() {
    const answer = await get("/queues", { signal });
    const { queues: found, flowControls, globalParallelism } = answer;
    overall.textContent = `${count(globalParallelism.count)} of at most ${count(globalParallelism.max)} attempts under way`;
    patch(
      queues,
      found.map((queue) => ({
        ...queue,
        depths: sampled(`q:${queue.name}:d`, queue.lag),
        flights: sampled(`q:${queue.name}:f`, queue.inFlight),
      })),
      (queue) => queue.name,
      (queue) => queueRow(queue, refresh),
    );
    patch(
      keys,
      flowControls.map((key) => ({
        ...key,
        waits: sampled(`k:${key.flowControlKey}:w`, key.waitListSize),
        flights: sampled(`k:${key.flowControlKey}:f`, key.parallelismCount),
        rates: sampled(`k:${key.flowControlKey}:r`, key.rateCount),
      })),
      (key) => key.flowControlKey,
      (key) => keyRow(key, refresh),
    );
    queues.closest(".scroll").hidden = !found.length;
    keys.closest(".scroll").hidden = !flowControls.length;
    noQueues.hidden = found.length > 0;
    noKeys.hidden = flowControls.length > 0;
    moreKeys.hidden = !answer.hasMoreKeys;
  }
  function sampled(name, value) {
    const values = [...(samples.get(name) ?? []), value].slice(-SAMPLES);
    samples.set(name, values);
    return values;
  }
  const tick = () => !document.hidden && refresh().catch(() => {});
  const timer = setInterval(tick, SAMPLE_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
  on("cleared", tick);
  await refresh();
}

function tableOf(columns, body, label) {
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
    h(
      "table",
      { class: "fold" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          columns.map((name) => h("th", { scope: "col" }, name || h("span", { class: "sr" }, "Actions"))),
        ),
      ),
      body,
    ),
  );
}

const gauge = (value, values, label, className) =>
  h(
    "td",
    { data: { label } },
    h(
      "div",
      { class: "row" },
      h("b", { class: "mono" }, count(value)),
      spark(values, { label: `${label}, last minute: now ${value}`, className }),
    ),
  );

function queueRow(queue, refresh) {
  const path = `/v2/queues/${encodeURIComponent(queue.name)}`;
  const act = (action, words) => async () => {
    await attempt(action, words);
    await refresh();
  };
  return h(
    "tr",
    {},
    h(
      "th",
      { scope: "row" },
      h("a", { href: `#/messages?queueName=${encodeURIComponent(queue.name)}` }, queue.name),
      " ",
      queue.paused ? h("span", { class: "chip warn" }, "paused") : null,
    ),
    gauge(queue.lag, queue.depths, "Depth", "c-accent"),
    gauge(queue.inFlight, queue.flights, "In flight", "c-active"),
    h("td", { data: { label: "Parallelism" } }, parallelism(queue, refresh)),
    h(
      "td",
      { class: "act" },
      queue.paused
        ? button(
            "Resume",
            act(() => post(`${path}/resume`), `${queue.name} goes on`),
            { kind: "small", act: "pause" },
          )
        : button(
            "Pause",
            act(() => post(`${path}/pause`), `${queue.name} is paused`),
            { kind: "small", act: "pause" },
          ),
      button(
        "Delete",
        async () => {
          if (queue.lag && !confirm(`Delete ${queue.name} and cancel the ${queue.lag} messages in it?`))
            return;
          await act(() => remove(path), `${queue.name} is deleted`)();
        },
        { kind: "small danger", act: "delete" },
      ),
    ),
  );
}

function parallelism(queue, refresh) {
  return h(
    "select",
    {
      "aria-label": `Parallelism of ${queue.name}`,
      data: { act: "parallelism" },
      onchange: async (event) => {
        await attempt(
          () =>
            postJson("/v2/queues", {
              queueName: queue.name,
              parallelism: Number(event.target.value),
              paused: queue.paused,
            }),
          "Changed",
        );
        await refresh();
      },
    },
    [...new Set([1, 2, 3, 5, 10, 20, 50, 100, queue.parallelism])]
      .sort((a, b) => a - b)
      .map((value) => h("option", { value, selected: value === queue.parallelism }, String(value))),
  );
}

function queueForm(refresh) {
  const name = h("input", {
    type: "text",
    required: true,
    pattern: "[A-Za-z0-9_.\\-]+",
    placeholder: "emails",
    name: "queue",
  });
  const slots = h("input", { type: "number", min: 1, max: 10_000, value: "1" });
  return h(
    "details",
    {},
    h("summary", {}, "New queue"),
    h(
      "form",
      {
        class: "row",
        onsubmit: async (event) => {
          event.preventDefault();
          const made = await attempt(
            () => postJson("/v2/queues", { queueName: name.value, parallelism: Number(slots.value) }),
            `${name.value} is there`,
          );
          if (made) name.value = "";
          await refresh();
        },
      },
      field("Name", name),
      field("Parallelism", slots),
      h("button", { class: "button", type: "submit" }, "Make it"),
    ),
  );
}

function keyRow(key, refresh) {
  const path = `/v2/flowControl/${encodeURIComponent(key.flowControlKey)}`;
  const act = (action, words) => async () => {
    await attempt(action, words);
    await refresh();
  };
  const pinned = [key.isPinnedParallelism && "parallelism pinned", key.isPinnedRate && "rate pinned"].filter(
    Boolean,
  );
  return h(
    "tr",
    {},
    h(
      "th",
      { scope: "row" },
      key.flowControlKey,
      " ",
      key.isPaused ? h("span", { class: "chip warn" }, "paused") : null,
      pinned.map((words) => [" ", h("span", { class: "chip" }, words)]),
    ),
    gauge(key.waitListSize, key.waits, "Waiting", "c-accent"),
    h(
      "td",
      { data: { label: "In flight" } },
      h(
        "div",
        { class: "row" },
        h(
          "b",
          { class: "mono" },
          `${key.parallelismCount}${key.parallelismMax ? ` / ${key.parallelismMax}` : ""}`,
        ),
        spark(key.flights, { label: `In flight: now ${key.parallelismCount}`, className: "c-active" }),
      ),
    ),
    h(
      "td",
      { data: { label: "Rate" } },
      key.rateMax
        ? h(
            "div",
            { class: "row" },
            h("b", { class: "mono" }, `${key.rateCount} / ${key.rateMax} in ${key.ratePeriod} s`),
            spark(key.rates, {
              label: `Attempts in this period: now ${key.rateCount}`,
              className: "c-errors",
            }),
          )
        : h("span", { class: "quiet" }, "no limit"),
    ),
    h(
      "td",
      { class: "act" },
      key.isPaused
        ? button(
            "Resume",
            act(() => post(`${path}/resume`), "It goes on"),
            { kind: "small", act: "pause" },
          )
        : button(
            "Pause",
            act(() => post(`${path}/pause`), "Paused"),
            { kind: "small", act: "pause" },
          ),
      pinned.length
        ? button(
            "Unpin",
            act(() => post(`${path}/unpin?parallelism=true&rate=true`), "Unpinned"),
            { kind: "small", act: "pin" },
          )
        : button("Pin…", () => pinDialog(key, path, refresh), { kind: "small", act: "pin" }),
      button(
        "Reset rate",
        act(() => post(`${path}/resetRate`), "The count begins anew"),
        { kind: "small", act: "reset" },
      ),
    ),
  );
}

function pinDialog(key, path, refresh) {
  const number = (value) => h("input", { type: "number", min: 1, value: value ? String(value) : "" });
  const [slots, rate, period] = [number(key.parallelismMax), number(key.rateMax), number(key.ratePeriod)];
  const dialog = h(
    "dialog",
    { "aria-label": `Pin ${key.flowControlKey}` },
    h(
      "form",
      {
        class: "stack",
        onsubmit: async (event) => {
          event.preventDefault();
          const done = await attempt(
            () =>
              post(
                `${path}/pin${toQuery({ parallelism: slots.value, rate: rate.value, period: rate.value ? period.value : "" })}`,
              ),
            "Pinned: what messages ask for does not change it",
          );
          if (done) dialog.close();
          await refresh();
        },
      },
      h("h2", {}, `Pin ${key.flowControlKey}`),
      h("p", { class: "quiet" }, "A pinned limit stays, whatever later messages ask for."),
      h(
        "div",
        { class: "grid2" },
        field("Parallelism", slots),
        field("Rate", rate),
        field("Period (seconds)", period),
      ),
      h(
        "div",
        { class: "row" },
        h("button", { class: "button primary", type: "submit" }, "Pin"),
        button("Leave it", () => dialog.close()),
      ),
    ),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
