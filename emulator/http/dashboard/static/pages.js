// The pages by name. Each is a module of its own, loaded when it is first opened.

export const pages = [
  { name: "overview", title: "Overview", key: "o", load: () => import("./views/overview.js") },
  { name: "messages", title: "Messages", key: "m", load: () => import("./views/messages.js") },
  { name: "publish", title: "Publish", key: "p", load: () => import("./views/publish.js") },
  { name: "dlq", title: "DLQ", key: "d", load: () => import("./views/dlq.js") },
  { name: "queues", title: "Queues & flow", key: "q", load: () => import("./views/queues.js") },
  { name: "schedules", title: "Schedules", key: "s", load: () => import("./views/schedules.js") },
  { name: "runs", title: "Workflow runs", key: "w", load: () => import("./views/runs.js") },
  { name: "groups", title: "URL groups", key: "u", load: () => import("./views/groups.js") },
  { name: "keys", title: "Signing keys", key: "k", load: () => import("./views/keys.js") },
  { name: "faults", title: "Faults", key: "f", load: () => import("./views/faults.js") },
  { name: "clock", title: "Clock", key: "c", load: () => import("./views/clock.js") },
];

const message = { name: "messages", title: "Message", load: () => import("./views/message.js") };
const schedule = { name: "schedules", title: "Schedule", load: () => import("./views/schedule.js") };
const run = { name: "runs", title: "Workflow run", load: () => import("./views/run.js") };
const single = { messages: message, schedules: schedule, runs: run };

/** The page of an address's first part; with a second part, the page of one thing. */
export function find(name) {
  const parts = location.hash.replace(/^#\/?/, "").split("?")[0].split("/").filter(Boolean);
  if (parts.length > 1 && single[name]) return single[name];
  return pages.find((page) => page.name === name) ?? pages[0];
}
