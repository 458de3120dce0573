// Publish, enqueue, batch, schedules, URL groups, lists, logs, the DLQ and flow control, by the vendor's SDK.

import assert from "node:assert/strict";
import { test } from "node:test";
import { client, eventually, inbox } from "./support.mjs";

const later = { delay: 3600 };

test("a published message arrives as it was sent, and can be read", async () => {
  const to = await inbox();
  const { messageId } = await client.publishJSON({
    url: `${to.url}/hook?foo=bar`,
    body: { hello: "wörld" },
    headers: { "test-header": "test-value", "Upstash-Forward-bypass-tunnel-reminder": "client-test" },
    retries: 1,
    label: ["first", "second"],
    callback: `${to.url}/?foo=bar`,
  });
  const delivery = await to.next();
  assert.equal(delivery.headers["upstash-message-id"], messageId);
  assert.equal(delivery.url, "/hook?foo=bar");
  assert.deepEqual(JSON.parse(delivery.body), { hello: "wörld" });
  const message = await client.messages.get(messageId);
  assert.equal(message.body, JSON.stringify({ hello: "wörld" }));
  assert.deepEqual(message.header["Test-Header"], ["test-value"]);
  assert.deepEqual(message.header["Bypass-Tunnel-Reminder"], ["client-test"]);
  assert.equal(message.header["Upstash-Forward-Bypass-Tunnel-Reminder"], undefined);
  assert.deepEqual([message.label, message.labels], ["first", ["first", "second"]]);
  assert.equal(message.maxRetries, 1);
  assert.equal(message.callback, `${to.url}/?foo=bar`);
  const callback = JSON.parse((await to.next()).body);
  assert.equal(callback.sourceMessageId, messageId);
  await to.close();
});

test("a failed message is found in the DLQ, published anew and deleted", async () => {
  const to = await inbox(404);
  const { messageId } = await client.publish({ url: to.url, body: "x", retries: 0, label: "lost" });
  const find = async () => (await client.dlq.listMessages({ filter: { label: "lost" } })).messages;
  const [entry] = await eventually(find);
  assert.deepEqual([entry.messageId, entry.responseStatus, entry.responseBody], [messageId, 404, "404 answered"]);
  const { responses, cursor } = await client.dlq.retry(entry.dlqId);
  assert.equal(responses.length, 1);
  assert.equal(cursor, undefined);
  const [again] = await eventually(find);
  assert.equal(again.messageId, responses[0].messageId);
  assert.deepEqual(await client.dlq.delete(again.dlqId), { deleted: 1 });
  await assert.rejects(client.dlq.delete(again.dlqId));
  assert.deepEqual(await client.dlq.delete({ filter: { label: "lost" } }), { deleted: 0 });
  await to.close();
});

test("batches answer in order, groups with an array of their own", async () => {
  await client.urlGroups.addEndpoints({
    name: "pair",
    endpoints: [{ url: "https://example.com/a", name: "first one" }, { url: "https://example.com/b" }],
  });
  const [one, many] = await client.batchJSON([
    { url: "https://example.com/c", body: { n: 1 }, ...later, method: "PATCH" },
    { urlGroup: "pair", body: { n: 2 }, ...later },
  ]);
  assert.equal((await client.messages.get(one.messageId)).method, "PATCH");
  assert.deepEqual(many.map(({ url }) => url), ["https://example.com/a", "https://example.com/b"]);
  const message = await client.messages.get(many[0].messageId);
  assert.deepEqual([message.urlGroup, message.endpointName], ["pair", "first one"]);
  assert.deepEqual((await client.urlGroups.get("pair")).endpoints.length, 2);
  await client.urlGroups.removeEndpoints({ name: "pair", endpoints: [{ name: "first one" }] });
  assert.deepEqual((await client.urlGroups.list())[0].endpoints, [{ url: "https://example.com/b" }]);
  await client.urlGroups.delete("pair");
  await assert.rejects(client.publish({ urlGroup: "pair", body: "x" }), /topic pair not found/);
});

test("queues hold what is enqueued", async () => {
  const queue = client.queue({ queueName: "js" });
  await queue.upsert({ parallelism: 2, paused: true });
  assert.deepEqual((({ name, parallelism, paused }) => ({ name, parallelism, paused }))(await queue.get()), {
    name: "js", parallelism: 2, paused: true,
  });
  const { messageId } = await queue.enqueueJSON({ url: "https://example.com", body: {} });
  assert.equal((await client.messages.get(messageId)).queueName, "js");
  assert.equal((await queue.get()).lag, 1);
  await queue.resume();
  await queue.pause();
  assert.deepEqual((await queue.list()).map(({ name }) => name), ["js"]);
  await queue.delete();
  assert.deepEqual(await queue.list(), []);
});

test("schedules show what they were made of, and are overwritten by id", async () => {
  const { scheduleId } = await client.schedules.create({
    destination: "https://example.com/",
    cron: " CRON_TZ=Europe/Berlin 0 9 * * MON-FRI ",
    scheduleId: "js",
    method: "GET",
    body: JSON.stringify({ a: 1 }),
    retries: 5,
    delay: 10,
    queueName: "nightly",
    label: "cron",
    retryDelay: "1000 * (1 + retried)",
    flowControl: { key: "k", parallelism: 2, rate: 3, period: "1d" },
  });
  const schedule = await client.schedules.get(scheduleId);
  assert.equal(schedule.cron, "CRON_TZ=Europe/Berlin 0 9 * * MON-FRI");
  assert.deepEqual(schedule.header, { "Content-Type": ["application/json"] });
  assert.deepEqual([schedule.method, schedule.retries, schedule.delay, schedule.period], ["GET", 5, 10, 86400]);
  assert.equal(schedule.retryDelayExpression, "1000 * (1 + retried)");
  await client.schedules.pause({ schedule: scheduleId });
  assert.equal((await client.schedules.get(scheduleId)).isPaused, true);
  await client.schedules.resume({ schedule: scheduleId });
  await client.schedules.create({ destination: "https://example.org", cron: "0 0 * * *", scheduleId: "js" });
  const [only, ...others] = await client.schedules.list();
  assert.deepEqual([only.destination, only.body, others.length], ["https://example.org", undefined, 0]);
  await client.schedules.delete(scheduleId);
  assert.deepEqual(await client.schedules.list(), []);
});

test("messages are cancelled one by one, by filter and all", async () => {
  const urls = ["/1", "/2", "/3", "/4"].map((path) => `https://cancel.example${path}`);
  const ids = (await client.batch(urls.map((url) => ({ url, ...later })))).map(({ messageId }) => messageId);
  assert.deepEqual(await client.messages.cancel(ids[0]), { cancelled: 1 });
  assert.deepEqual(await client.messages.cancel({ filter: { path: ["/2", "/3"] } }), { cancelled: 2 });
  assert.deepEqual(await client.messages.cancel({ filter: { host: "cancel.example" }, count: 1 }), { cancelled: 1 });
  await client.messages.cancel({ all: true });
  assert.deepEqual(await client.messages.cancel({ all: true }), { cancelled: 0 });
  await assert.rejects(client.messages.cancel(ids[0]));
});

test("logs are filtered and have a cursor only when more follow", async () => {
  const to = await inbox();
  const { messageId } = await client.publish({ url: `${to.url}/logged`, body: "secret", label: "seen",
    redact: { body: true } });
  await to.next();
  const delivered = await eventually(async () =>
    (await client.logs({ filter: { messageId, state: "DELIVERED" } })).logs);
  assert.equal(delivered.length, 1);
  assert.match(Buffer.from(delivered[0].body, "base64").toString(), /^REDACTED:[0-9a-f]{64}$/);
  const all = await client.logs({ filter: { label: "seen", path: "/logged" } });
  assert.deepEqual(all.logs.map(({ state }) => state), ["DELIVERED", "ACTIVE", "CREATED"]);
  assert.equal(all.cursor, undefined);
  const page = await client.logs({ filter: { label: "seen" }, count: 1 });
  assert.deepEqual([page.logs.length, typeof page.cursor], [1, "string"]);
  await to.close();
});

test("flow control is shown, paused, pinned and counted anew", async () => {
  await client.publish({ url: "https://example.com", ...later, flowControl: { key: "js/key", parallelism: 2, rate: 5 } });
  const key = await client.flowControl.get("js/key");
  assert.deepEqual([key.flowControlKey, key.parallelismMax, key.rateMax], ["js/key", 2, 5]);
  await client.flowControl.pause("js/key");
  assert.equal((await client.flowControl.get("js/key")).isPaused, true);
  await client.flowControl.resume("js/key");
  await client.flowControl.pin("js/key", { parallelism: 3, rate: 20, period: 120 });
  const pinned = await client.flowControl.get("js/key");
  assert.deepEqual([pinned.parallelismMax, pinned.rateMax, pinned.ratePeriod], [3, 20, 120]);
  await client.flowControl.unpin("js/key", { parallelism: true });
  assert.equal((await client.flowControl.get("js/key")).isPinnedRate, true);
  await client.flowControl.resetRate("js/key");
  assert.equal(typeof (await client.flowControl.getGlobalParallelism()).parallelismMax, "number");
});
