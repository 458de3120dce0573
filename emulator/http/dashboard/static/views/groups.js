// URL groups: one name, several endpoints; a message for each.

import { call, get, postJson, remove } from "../api.js";
import { button, field, h, patch, throttle } from "../dom.js";
import { ago } from "../format.js";
import { headerLines, pairsOf } from "../parts/body.js";
import { attempt } from "../toast.js";

export async function show({ root, signal, on }) {
  const list = h("div", { class: "cards" });
  const nothing = h("div", { class: "card" }, h("div", { class: "empty" }, "No URL group yet."));
  root.append(
    h("div", { class: "head" }, h("h1", {}, "URL groups")),
    list,
    nothing,
    h("section", { class: "card" }, h("div", { class: "body" }, newEndpoint("", refresh))),
  );
  list.style.marginBottom = "14px";

  async function refresh() {
    const groups = await get("/v2/topics", { signal });
    patch(
      list,
      groups,
      (group) => group.name,
      (group) => drawn(group, refresh),
    );
    nothing.hidden = groups.length > 0;
  }
  const soon = throttle(() => refresh().catch(() => {}), 400);
  on("changed", (kinds) => kinds.includes("groups") && soon());
  on("cleared", soon);
  await refresh();
}

function drawn(group, refresh) {
  const path = `/v2/topics/${encodeURIComponent(group.name)}`;
  const act = (action, words) => async () => {
    await attempt(action, words);
    await refresh();
  };
  return h(
    "section",
    { class: "card", "aria-label": group.name },
    h(
      "header",
      {},
      h("h2", {}, group.name),
      h("span", { class: "quiet" }, `${group.endpoints.length} endpoints`),
      h("span", { class: "more" }, "changed ", ago(group.updatedAt)),
      button(
        "Publish…",
        () => {
          sessionStorage.setItem("qstash.draft", JSON.stringify({ destination: group.name }));
          location.hash = "#/publish";
        },
        { kind: "small", act: "publish" },
      ),
      button(
        "Delete",
        async () => {
          if (confirm(`Delete the URL group ${group.name}?`)) await act(() => remove(path), "Deleted")();
        },
        { kind: "small danger", act: "delete" },
      ),
    ),
    h(
      "div",
      { class: "body stack" },
      h(
        "ul",
        { class: "kin" },
        group.endpoints.map((endpoint) =>
          h(
            "li",
            {},
            h(
              "span",
              { class: "grow break" },
              endpoint.name ? h("b", {}, `${endpoint.name} `) : null,
              h("span", { class: "mono" }, endpoint.url),
            ),
            button(
              "Remove",
              act(
                () =>
                  call("DELETE", `${path}/endpoints`, {
                    body: JSON.stringify({ endpoints: [{ url: endpoint.url }] }),
                    headers: { "Content-Type": "application/json" },
                  }),
                "Removed",
              ),
              { kind: "small plain", act: `remove ${endpoint.url}` },
            ),
          ),
        ),
      ),
      group.headers ? [h("h3", {}, "Default options"), headerLines(pairsOf(group.headers))] : null,
      newEndpoint(group.name, refresh),
    ),
  );
}

function newEndpoint(group, refresh) {
  const name = h("input", {
    type: "text",
    required: true,
    pattern: "[A-Za-z0-9_.\\-]+",
    placeholder: "my-group",
  });
  const url = h("input", { type: "text", required: true, placeholder: "http://localhost:3000/api/hook" });
  const label = h("input", { type: "text", placeholder: "optional" });
  return h(
    "details",
    {},
    h("summary", {}, group ? "Add an endpoint" : "New URL group"),
    h(
      "form",
      {
        class: "stack",
        onsubmit: async (event) => {
          event.preventDefault();
          const endpoint = label.value
            ? { url: url.value.trim(), name: label.value }
            : { url: url.value.trim() };
          await attempt(
            () =>
              postJson(`/v2/topics/${encodeURIComponent(group || name.value)}/endpoints`, {
                endpoints: [endpoint],
              }),
            "Added",
          );
          await refresh();
        },
      },
      h(
        "div",
        { class: "grid2" },
        group ? null : field("Group", name),
        field("URL", url),
        field("Name of the endpoint", label),
      ),
      h("div", {}, h("button", { class: "button", type: "submit" }, "Add")),
    ),
  );
}
