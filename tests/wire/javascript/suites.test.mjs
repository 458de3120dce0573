// What the SDK's own suites assert (contract 7.1 to 7.5), by the SDK: row by row, against a server that is not the vendor's.

import assert from "node:assert/strict";
import { test } from "node:test";
import { client, eventually, inbox } from "./support.mjs";

const later = { delay: 3600 };
const url = "https://example.com/suites";
const read = ({ messageId }) => client.messages.get(messageId);
const dead = async (filter) => (await client.dlq.listMessages({ filter })).messages;

/** Publishes something that fails for good, and waits for its entry in the DLQ. */
async function fail(to, options = {}) {
  const { messageId } = await client.publish({ url: to.url, body: "x", retries: 0, ...options });
  const [entry] = await eventually(() => dead({ messageId }));
  return entry;
}

test("delay and notBefore are shown in milliseconds", async () => {
  const before = Date.now();
  const delayed = await read(await client.publishJSON({ url, body: {}, delay: 5 }));
  assert.ok(delayed.notBefore >= before);
  const seconds = Math.floor(before / 1000) + 3600;
  const later = await read(await client.publishJSON({ url, body: {}, notBefore: seconds }));
  assert.ok(later.notBefore >= seconds);
  assert.equal(later.notBefore, seconds * 1000);
});

test("header values are kept as the SDK puts them together, and batch items keep their own", async () => {
  const merged = await read(await client.publishJSON({ url, body: {}, ...later,
    headers: new Headers([["x-same", "value-uppercase"], ["X-Same", "value-lowercase"], ["x-none", "undefined"]]) }));
  assert.deepEqual(merged.header["X-Same"], ["value-uppercase, value-lowercase"]);
  assert.deepEqual(merged.header["X-None"], ["undefined"]);
  const items = await client.batch([{ url, ...later, headers: { test: "mine" } }, { url, ...later, headers: { test: "other" } }]);
  const shown = await Promise.all(items.map(read));
  assert.deepEqual(shown.map(({ header }) => header.Test), [["mine"], ["other"]]);
});

test("a group's messages name it, and a batch takes queues and groups", async () => {
  const endpoints = [{ url: "https://example.com/a" }, { url: "https://example.com/b" }];
  await client.urlGroups.addEndpoints({ name: "suite", endpoints });
  const published = await client.publishJSON({ urlGroup: "suite", body: {}, delay: 3 });
  assert.deepEqual((await Promise.all(published.map(read))).map(({ urlGroup }) => urlGroup), ["suite", "suite"]);
  const [many, single] = await client.batchJSON([
    { urlGroup: "suite", body: 1, queueName: "suite-queue" }, { url, body: 2, queueName: "suite-queue" },
  ]);
  assert.equal(many.length, 2);
  assert.equal((await read(single)).queueName, "suite-queue");
  assert.equal((await client.batch([{ url, ...later }])).length, 1);
  await client.queue({ queueName: "suite-queue" }).delete();
});

test("what is redacted is not in the log", async () => {
  const headers = { "secret-one": "secret-one", "secret-two": "secret-two" };
  for (const [redact, hidden] of [
    [{ body: true }, ["secret-body"]],
    [{ header: true }, ["secret-one", "secret-two"]],
    [{ header: ["secret-one"] }, ["secret-one"]],
  ]) {
    const { messageId } = await client.publish({ url, body: "secret-body", headers, redact, ...later });
    const [entry] = await eventually(async () => (await client.logs({ filter: { messageId } })).logs);
    const told = Buffer.from(entry.body, "base64").toString() + JSON.stringify(entry.header);
    for (const secret of ["secret-body", "secret-one", "secret-two"]) {
      assert.equal(told.includes(`"${secret}"`) || told.startsWith(secret), !hidden.includes(secret), secret);
    }
  }
});

test("a message shows all that it was published with", async () => {
  const { messageId } = await client.publish({
    url, body: "x", delay: "10d", retries: 5, method: "GET", headers: { "test-header": "test-value" },
    callback: "https://example.com/callback", failureCallback: "https://example.com/failed",
    retryDelay: "1000 * (1 + retried)", flowControl: { key: "suite-flow", parallelism: 3, rate: 5, period: "1d" },
  });
  const message = await client.messages.get(messageId);
  assert.deepEqual([message.method, message.maxRetries, message.period], ["GET", 5, 86400]);
  assert.deepEqual([message.parallelism, message.rate, message.flowControlKey], [3, 5, "suite-flow"]);
  assert.deepEqual(message.header["Test-Header"], ["test-value"]);
  assert.equal(message.retryDelayExpression, "1000 * (1 + retried)");
  assert.deepEqual(await client.messages.cancel(messageId), { cancelled: 1 });
});

test("messages are cancelled by ids, and by one or several flow-control keys, whatever the count", async () => {
  await client.messages.cancel({ all: true });
  const [first, second] = await client.batch([1, 2, 3].map((number) => ({ url: `${url}/${number}`, ...later })));
  assert.deepEqual(await client.messages.cancel([first.messageId, second.messageId]), { cancelled: 2 });
  assert.deepEqual(await client.messages.cancel({ all: true }), { cancelled: 1 });
  const flow = (key) => ({ url, ...later, flowControl: { key, parallelism: 1 } });
  await client.batch(["one", "one", "two", "three", "four"].map(flow));
  assert.deepEqual(await client.messages.cancel({ filter: { flowControlKey: "one" }, count: 1 }), { cancelled: 2 });
  assert.deepEqual(await client.messages.cancel({ filter: { flowControlKey: ["two", "three"] } }), { cancelled: 2 });
  assert.deepEqual(await client.messages.cancel({ filter: { host: "example.com" } }), { cancelled: 1 });
});

test("entries of the DLQ are found by what their messages were published with", async (t) => {
  const to = await inbox(404);
  t.after(to.close);
  await client.urlGroups.addEndpoints({ name: "broken", endpoints: [{ url: to.url }] });
  await client.publish({ urlGroup: "broken", body: "x", retries: 0 });
  const [ofGroup] = await eventually(() => dead({ urlGroup: "broken" }));
  assert.equal(ofGroup.urlGroup, "broken");
  const entry = await fail(to, { label: ["a", "b"], retryDelay: "1000",
    flowControl: { key: "broken-flow", parallelism: 2, rate: 3, period: "1d" } });
  assert.deepEqual([entry.flowControlKey, entry.parallelism, entry.rate, entry.period], ["broken-flow", 2, 3, 86400]);
  assert.deepEqual([entry.retryDelayExpression, entry.label, entry.labels], ["1000", "a", ["a", "b"]]);
  await fail(to, { label: "c" });
  await fail(to, { label: "d" });
  assert.deepEqual((await dead({ label: ["a", "c"] })).map(({ label }) => label), ["c", "a"]);
  assert.equal((await dead({ flowControlKey: "broken-flow" })).length, 1);
  assert.deepEqual(await client.dlq.delete({ filter: { flowControlKey: "broken-flow" } }), { deleted: 1 });
  assert.deepEqual(await client.dlq.delete({ filter: { label: ["c", "d"] } }), { deleted: 2 });
  assert.deepEqual(await dead({ label: ["a", "c", "d"] }), []);
  await client.dlq.delete({ all: true });
});

test("entries of the DLQ are deleted and published anew, by ids, by filters, one, and all", async (t) => {
  const to = await inbox(404);
  t.after(to.close);
  const ids = [];
  for (let number = 0; number < 6; number += 1) ids.push((await fail(to, { label: "bulk" })).dlqId);
  const filter = { label: "bulk" };
  assert.deepEqual(await client.dlq.deleteMany({ dlqIds: ids.slice(0, 3) }), { deleted: 3 });
  assert.equal((await client.dlq.delete({ filter, count: 1 })).deleted, 1);
  const left = (await dead(filter)).map(({ dlqId }) => dlqId);
  assert.equal(left.length, 2);
  const two = await client.dlq.retry(left);
  assert.deepEqual([two.responses.length, two.cursor], [2, undefined]);
  assert.ok(two.responses.every(({ messageId }) => messageId));
  assert.deepEqual(await client.dlq.delete(left), { deleted: 0 });
  await eventually(async () => (await dead(filter)).length === 2);
  const one = await client.dlq.retry({ filter, count: 1 });
  assert.equal(one.responses.length, 1);
  await eventually(async () => (await dead(filter)).length === 2);
  const all = await client.dlq.retry({ filter });
  assert.deepEqual([all.responses.length, all.cursor], [2, undefined]);
  await eventually(async () => (await dead(filter)).length === 2);
  assert.deepEqual(await client.dlq.delete({ filter }), { deleted: 2 });
  assert.deepEqual(await dead(filter), []);
  for (const none of [{ messageId: "msg_none" }, { url: "https://none.example" }, { urlGroup: "none" }, { scheduleId: "scd_none" },
    { queueName: "none" }, { callerIp: "10.9.8.7" }, { label: "none" }, { flowControlKey: "none" }, { responseStatus: 999 },
    { fromDate: Date.now() + 1e6 }, { toDate: 1 }]) {
    assert.deepEqual(await client.dlq.retry({ filter: none }), { responses: [], cursor: undefined });
  }
  await assert.rejects(client.dlq.delete({ filter: { labeel: "bulk" } }));
});

test("logs are found by several labels and urls, and by host and path", async (t) => {
  const to = await inbox();
  t.after(to.close);
  const made = [];
  for (const name of ["p", "q", "r"]) {
    made.push((await client.publish({ url: `${to.url}/${name}`, body: "x", label: [`log-${name}`, "log-all"] })).messageId);
    await to.next();
  }
  const ids = async (filter) => new Set((await client.logs({ filter })).logs.map(({ messageId }) => messageId));
  await eventually(async () => (await ids({ label: "log-all" })).size === 3);
  assert.deepEqual(await ids({ label: ["log-p", "log-q"] }), new Set(made.slice(0, 2)));
  assert.deepEqual(await ids({ url: [`${to.url}/q`, `${to.url}/r`] }), new Set(made.slice(1)));
  assert.deepEqual(await ids({ path: "/r", host: new URL(to.url).host }), new Set(made.slice(2)));
  assert.deepEqual(await ids({ path: "/r", host: "elsewhere.example" }), new Set());
  const [entry] = (await client.logs({ filter: { label: "log-p" } })).logs;
  assert.deepEqual([entry.label, entry.labels], ["log-p", ["log-p", "log-all"]]);
});

test("queues, schedules and groups list exactly what was made", async () => {
  for (const name of ["list-a", "list-b"]) await client.queue({ queueName: name }).upsert({ parallelism: 1 });
  const names = (await client.queue().list()).map(({ name }) => name).filter((name) => name.startsWith("list-"));
  assert.deepEqual(names.sort(), ["list-a", "list-b"]);
  for (const name of names) await client.queue({ queueName: name }).delete();
  const ids = [];
  for (const label of ["one", "two"]) {
    ids.push((await client.schedules.create({ destination: url, cron: "0 0 1 1 *", label })).scheduleId);
  }
  const listed = new Map((await client.schedules.list()).map(({ scheduleId, label }) => [scheduleId, label]));
  assert.deepEqual(ids.map((id) => listed.get(id)), ["one", "two"]);
  for (const id of ids) await client.schedules.delete(id);
  await client.urlGroups.addEndpoints({ name: "kept", endpoints: [{ url: "https://example.com/1", name: "first one" }] });
  await client.urlGroups.addEndpoints({ name: "kept", endpoints: [{ url: "https://example.com/2" }] });
  const { endpoints } = await client.urlGroups.get("kept");
  assert.deepEqual(endpoints, [{ url: "https://example.com/1", name: "first one" }, { url: "https://example.com/2" }]);
});

test("a paused key's rate is counted anew, and what is in flight can be cancelled", async () => {
  const { messageId } = await client.publish({ url, ...later, flowControl: { key: "suite-rate", parallelism: 1, rate: 1 } });
  const key = await client.flowControl.get("suite-rate");
  for (const name of ["waitListSize", "parallelismMax", "parallelismCount"]) assert.equal(Number.isInteger(key[name]), true);
  await client.flowControl.pause("suite-rate");
  await client.flowControl.resetRate("suite-rate");
  assert.equal((await client.flowControl.get("suite-rate")).rateCount, 0);
  await client.flowControl.unpin("suite-rate", { parallelism: true, rate: true });
  const { isPinnedParallelism, isPinnedRate, isPaused } = await client.flowControl.get("suite-rate");
  assert.deepEqual([isPinnedParallelism, isPinnedRate, isPaused], [false, false, true]);
  assert.deepEqual(await client.messages.cancel(messageId), { cancelled: 1 });
});
