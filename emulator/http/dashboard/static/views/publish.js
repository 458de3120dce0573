// Publish by hand, and see the same call as code.

import { post } from "../api.js";
import { button, field, h } from "../dom.js";
import { chip, moment } from "../format.js";
import { curl, headersOf, pathOf, python, typescript } from "../parts/snippets.js";
import { server } from "../session.js";
import { attempt, copy } from "../toast.js";

/** @type {[string, string, string][]} */
const OPTIONS = [
  ["delay", "Delay", "10s, 5m, 1d"],
  ["retries", "Retries", "3"],
  ["retryDelay", "Retry delay (ms)", "1000 * (1 + retried)"],
  ["timeout", "Timeout", "30s"],
  ["label", "Labels", "one, another"],
  ["deduplicationId", "Deduplication id", ""],
  ["callback", "Callback", "http://localhost:3000/done"],
  ["failureCallback", "Failure callback", "http://localhost:3000/failed"],
  ["flowKey", "Flow-control key", ""],
  ["flowValue", "Flow-control value", "rate=10, period=1m"],
  ["redact", "Redact", "body, header[Authorization]"],
  ["notBefore", "Not before (unix seconds)", ""],
];
/** @type {[string, (publish: any, url: string) => string][]} */
const LANGUAGES = [
  ["curl", curl],
  ["Python", python],
  ["TypeScript", typescript],
];

export async function show({ root, on }) {
  const draft = readDraft();
  let language = 0;
  const code = h("pre", {
    class: "code wrap",
    tabindex: "0",
    role: "region",
    "aria-label": "The call as code",
  });
  const tabs = h("div", { class: "tabs", role: "tablist", "aria-label": "Language" });
  const sent = h("ol", {
    class: "log-lines",
    "aria-label": "What became of it",
    data: { empty: "Publish, and its steps appear here." },
  });
  const own = new Map();

  const redraw = () => {
    code.textContent = LANGUAGES[language][1](draft, server.url);
    tabs.replaceChildren(
      ...LANGUAGES.map(([name], place) =>
        h(
          "button",
          {
            type: "button",
            role: "tab",
            "aria-selected": String(place === language),
            tabindex: place === language ? 0 : -1,
            onclick: () => choose(place),
            onkeydown: (event) => {
              const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
              if (step) choose((language + step + LANGUAGES.length) % LANGUAGES.length, true);
            },
          },
          name,
        ),
      ),
    );
    sessionStorage.setItem("qstash.draft", JSON.stringify(draft));
  };
  const choose = (place, isByKey) => {
    language = place;
    redraw();
    if (isByKey) tabs.children[place].focus();
  };

  const form = h(
    "form",
    {
      class: "card",
      onsubmit: async (event) => {
        event.preventDefault();
        const answer = await attempt(
          () =>
            post(pathOf(draft), {
              body: draft.body || undefined,
              headers: Object.fromEntries(headersOf(draft)),
            }),
          (made) =>
            [made].flat().every((one) => one.deduplicated)
              ? "A duplicate: nothing new was published"
              : "Published",
        );
        for (const one of [answer ?? []].flat()) own.set(one.messageId, true);
        for (const one of [answer ?? []].flat())
          if (!sent.querySelector(`[data-id="${one.messageId}"]`))
            tell({ messageId: one.messageId, time: null, state: one.deduplicated ? "DUPLICATE" : "CREATED" });
      },
    },
    h("header", {}, h("h2", {}, "Message")),
    h("div", { class: "body" }, fields(draft, redraw)),
  );

  function tell(step) {
    const link = h(
      "a",
      { href: `#/messages/${step.messageId}` },
      step.error ? `${step.messageId.slice(0, 16)}… ${step.error}` : step.messageId,
    );
    sent.prepend(
      h(
        "li",
        { data: { id: step.messageId } },
        h("span", { class: "quiet" }, step.time ? moment(step.time, { millis: true }) : "accepted"),
        chip(step.state),
        link,
      ),
    );
  }
  const early = [];
  on("step", (step) => {
    if (own.has(step.messageId)) tell(step);
    else if (early.push(step) > 50) early.shift();
  });

  root.append(
    h("div", { class: "head" }, h("h1", {}, "Publish")),
    h(
      "div",
      { class: "publish" },
      form,
      h(
        "div",
        { class: "stack" },
        h(
          "section",
          { class: "card" },
          h(
            "header",
            {},
            h("h2", {}, "The same call"),
            tabs,
            h(
              "span",
              { class: "more" },
              button("Copy", () => copy(code.textContent), { kind: "small" }),
            ),
          ),
          h("div", { class: "body" }, code),
        ),
        h(
          "section",
          { class: "card" },
          h("header", {}, h("h2", {}, "What became of it"), h("span", { class: "more" }, "live")),
          h("div", { class: "body" }, sent),
        ),
      ),
    ),
  );
  redraw();
}

function readDraft() {
  const empty = {
    destination: "",
    queue: "",
    body: "",
    contentType: "application/json",
    headers: [],
    options: {},
  };
  try {
    return { ...empty, ...JSON.parse(sessionStorage.getItem("qstash.draft") ?? "{}") };
  } catch {
    return empty;
  }
}

function fields(draft, changed) {
  const bind = (input, read, write) => {
    input.value = read() ?? "";
    input.addEventListener("input", () => {
      write(input.value);
      changed();
    });
    return input;
  };
  const top = (name, props) =>
    bind(
      h("input", { type: "text", name, ...props }),
      () => draft[name],
      (value) => (draft[name] = value.trim()),
    );
  const option = ([name, label, placeholder]) =>
    field(
      label,
      bind(
        h("input", { type: "text", name, placeholder }),
        () => draft.options[name],
        (value) => (draft.options[name] = value.trim()),
      ),
    );
  const method = bind(
    h(
      "select",
      { name: "method" },
      ["POST", "GET", "PUT", "PATCH", "DELETE"].map((verb) => h("option", { value: verb }, verb)),
    ),
    () => draft.options.method || "POST",
    (value) => (draft.options.method = value === "POST" ? "" : value),
  );
  const body = bind(
    h("textarea", { name: "body", rows: 6, spellcheck: "false", placeholder: '{"hello": "world"}' }),
    () => draft.body,
    (value) => (draft.body = value),
  );
  return h(
    "fieldset",
    {},
    h("legend", { class: "sr" }, "Message"),
    field(
      "Destination",
      top("destination", {
        required: true,
        placeholder: "http://localhost:3000/api/hook, or a URL group",
        autocomplete: "off",
        spellcheck: "false",
      }),
    ),
    h(
      "div",
      { class: "grid2" },
      field("Method", method),
      field("Content type", top("contentType", {})),
      field("Queue", top("queue", { placeholder: "none" })),
    ),
    field("Body", body),
    h(
      "div",
      { class: "stack" },
      h("span", { class: "legend" }, "Headers for the destination"),
      headerRows(draft, changed),
    ),
    h(
      "details",
      { open: Object.values(draft.options).some(Boolean) },
      h("summary", {}, "Delay, retries, callbacks, flow control …"),
      h("div", { class: "grid2" }, OPTIONS.map(option)),
    ),
    h("div", { class: "row" }, h("button", { class: "button primary", type: "submit" }, "Publish")),
  );
}

function headerRows(draft, changed) {
  const grid = h("div", { class: "stack" });
  const draw = () => {
    grid.replaceChildren(
      ...draft.headers.map((line, place) =>
        h(
          "div",
          { class: "headers-grid" },
          bound(line, 0, "Header name", "X-Name"),
          bound(line, 1, "Header value", "value"),
          button(
            "×",
            () => {
              draft.headers.splice(place, 1);
              draw();
              changed();
            },
            { kind: "plain", title: "Remove this header" },
          ),
        ),
      ),
      h(
        "div",
        {},
        button(
          "Add a header",
          () => {
            draft.headers.push(["", ""]);
            draw();
            grid.querySelectorAll(".headers-grid input")[2 * draft.headers.length - 2].focus();
          },
          { kind: "small" },
        ),
      ),
    );
  };
  const bound = (line, place, label, placeholder) =>
    h("input", {
      type: "text",
      "aria-label": label,
      placeholder,
      value: line[place],
      oninput: (event) => {
        line[place] = event.target.value;
        changed();
      },
    });
  draw();
  return grid;
}
