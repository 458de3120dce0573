import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { newTenant, type Tenant } from "qstash-emulator";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createApp, type Reminder, remind } from "./reminders.js";

let qstash: Tenant;
let app: Server;
let url: string;
let sent: Reminder[];
let failures: number;

beforeEach(async () => {
  qstash = await newTenant();
  sent = [];
  failures = 0;
  app = createApp(async (reminder) => {
    if (failures-- > 0) throw new Error("the mail server is away");
    sent.push(reminder);
  });
  await new Promise<void>((ready) => app.listen(0, "127.0.0.1", ready));
  url = `http://127.0.0.1:${(app.address() as AddressInfo).port}/`;
});
afterEach(() => new Promise((closed) => app.close(closed)));

test("a reminder comes after a day", async () => {
  await remind(url, { email: "ada@example.com", about: "the engine" });
  await qstash.advance("23h59m");
  expect(sent).toEqual([]);
  await qstash.advance("1m");
  expect(sent).toEqual([{ email: "ada@example.com", about: "the engine" }]);
});

test("a mail server that is away for more than a day costs nobody a reminder", async () => {
  failures = 5;
  await remind(url, { email: "ada@example.com", about: "the engine" });
  const { now: before } = await qstash.clock();
  const { now: after } = await qstash.runUntilIdle();
  expect(sent).toHaveLength(1);
  expect(after - before).toBeGreaterThan(2 * 86_400_000); // the day of the delay, and more than one of retries
  const outcomes = (await qstash.deliveries()).map(({ outcome }) => outcome);
  expect(outcomes).toEqual(["ERROR", "ERROR", "ERROR", "ERROR", "ERROR", "DELIVERED"]);
});

test("a call with a wrong signature sends nothing", async () => {
  await qstash.faults.add("wrong-signature");
  await remind(url, { email: "ada@example.com", about: "the engine" });
  await qstash.runUntilIdle();
  expect(sent).toEqual([]);
  expect((await qstash.messages()).map(({ state }) => state)).toEqual(["FAILED"]);
});
