import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { newTenant } from "qstash-emulator";
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { mail } from "./lib/mail";
import { signUp } from "./lib/sign-up";

// The route reads the signing keys when it is imported: a tenant for this file comes first.
const qstash = await newTenant();
const { POST } = await import("./app/api/welcome/route");

let app: Server;
let origin: string;

beforeAll(async () => {
  app = serve(POST);
  await new Promise<void>((ready) => app.listen(0, "127.0.0.1", ready));
  origin = `http://127.0.0.1:${(app.address() as AddressInfo).port}`;
});
afterAll(() => new Promise((closed) => app.close(closed)));
beforeEach(() => qstash.reset());

test("a user is welcomed after an hour, also when mail is down for a day", async () => {
  const send = vi.spyOn(mail, "send");
  for (let attempt = 0; attempt < 5; attempt += 1) send.mockRejectedValueOnce(new Error("mail is down"));
  await signUp(origin, "ada@example.com");
  await qstash.advance("59m");
  expect(send).not.toHaveBeenCalled();
  const { now: before } = await qstash.clock();
  const { now: after } = await qstash.runUntilIdle();
  expect(after - before).toBeGreaterThan(86_400_000);
  expect(send).toHaveBeenCalledTimes(6);
  expect((await qstash.deliveries()).at(-1)).toMatchObject({ outcome: "DELIVERED", response: { status: 200 } });
});

test("nobody but QStash is answered", async () => {
  const refused = await fetch(`${origin}/api/welcome`, { method: "POST", body: "{}" });
  expect(refused.status).toBe(403);
});

/** A route handler behind a port, without the build that `next dev` makes. */
function serve(handler: (request: never) => Promise<Response>): Server {
  return createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const headers = new Headers(request.headers as Record<string, string>);
    const asked = new Request(`${origin}${request.url}`, { method: "POST", headers, body: Buffer.concat(chunks) });
    const answer = await handler(asked as never).catch(() => new Response(null, { status: 500 }));
    response.writeHead(answer.status).end(await answer.text());
  });
}
