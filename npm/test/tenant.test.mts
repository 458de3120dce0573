import { Client, Receiver } from "@upstash/qstash";
import { currentTenant, newTenant, type Tenant } from "qstash-emulator";
import { afterEach, beforeEach, expect, test } from "vitest";
import { inbox } from "./inbox.mjs";

let qstash: Tenant;
let app: Awaited<ReturnType<typeof inbox>>;

beforeEach(async () => {
  qstash = await newTenant();
  app = await inbox();
});
afterEach(() => app.close());

test("a reminder comes after a day, signed for the vendor's Receiver", async () => {
  await new Client().publishJSON({ url: `${app.url}/remind`, body: { user: 7 }, delay: "1d" });
  await qstash.advance("23h");
  expect(app.got).toEqual([]);
  expect(await qstash.advance("1h")).toMatchObject({ delivered: 1, fired: 0, nextDue: null });
  const [one] = app.got;
  const signature = String(one?.headers["upstash-signature"]);
  expect(await new Receiver().verify({ signature, body: '{"user":7}' })).toBe(true);
});

test("a week of cron passes at once", async () => {
  await new Client().schedules.create({ destination: app.url, cron: "CRON_TZ=Europe/Berlin 0 9 * * *" });
  expect(await qstash.advance("7d")).toMatchObject({ fired: 7 });
  expect(app.got).toHaveLength(7);
});

test("retries and a doubled delivery are told attempt by attempt", async () => {
  await qstash.faults.add("answer", { status: 503, responseBody: "later", count: 2 });
  const twice = await qstash.faults.add("deliver-twice", { count: 1 });
  const { messageId } = await new Client().publishJSON({ url: app.url, body: {}, label: "charge" });
  expect(await qstash.runUntilIdle()).toMatchObject({ nextDue: null });
  expect(app.got.map(({ headers }) => headers["upstash-retried"])).toEqual(["2", "2"]);
  const deliveries = await qstash.deliveries({ label: "charge" });
  expect(deliveries.map(({ number, outcome }) => [number, outcome])).toEqual([
    [1, "ERROR"],
    [2, "ERROR"],
    [3, "DELIVERED"],
  ]);
  expect(deliveries[0]).toMatchObject({ messageId, response: { status: 503, body: "later" } });
  // The published waits: 12 seconds, then 2 minutes and 28 seconds.
  expect(deliveries.map(({ next }) => next && Math.round(next.waitMs / 1000))).toEqual([12, 148, undefined]);
  expect(await qstash.faults.list()).toMatchObject([{ struck: 2 }, { id: twice.id, struck: 1 }]);
  await qstash.faults.remove(twice.id);
  await qstash.faults.remove();
  expect(await qstash.faults.list()).toEqual([]);
});

test("messages are listed oldest first, whatever their number, and by what they are", async () => {
  const client = new Client();
  const sent: string[] = [];
  for (let page = 0; page < 6; page += 1) {
    const messages = Array.from({ length: 100 }, (_, index) => ({ url: app.url, body: `${index}`, delay: 60 }));
    sent.push(...(await client.batch(messages)).map((one) => (one as { messageId: string }).messageId));
  }
  expect((await qstash.messages()).map(({ messageId }) => messageId)).toEqual(sent);
  expect(await qstash.messages({ state: ["DELIVERED", "FAILED"] })).toEqual([]);
  expect(await qstash.messages({ label: "nobody" })).toEqual([]);
});

test("a tenant shares neither messages nor time with another", async () => {
  await new Client().publishJSON({ url: app.url, body: {}, delay: "1h" });
  const other = await qstash.newTenant();
  await other.advance("2d");
  expect(await other.messages()).toEqual([]);
  expect(app.got).toEqual([]);
  expect((await qstash.clock()).mode).toBe("manual");
  expect(currentTenant().environment).toEqual(qstash.environment);
  await qstash.reset();
  expect(await qstash.messages()).toEqual([]);
});

test("what the server refuses is thrown in its own words", async () => {
  await expect(qstash.advance("soon")).rejects.toThrow(/400 .*invalid by 'soon'/);
  await expect(qstash.advance(new Date(0))).rejects.toThrow(/cannot be turned back/);
  const at = new Date((await qstash.clock()).now + 1000);
  expect(await qstash.advance(at)).toMatchObject({ now: at.getTime() });
});
