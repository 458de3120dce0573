/** One tenant of a running emulator: its clock, its faults, and what became of its messages. */

import { type Environment, readEnvironment, setEnvironment } from "./environment.js";
import type { Clock, Delivery, Fault, FaultFields, FaultKind, Message, MessageFilter, Turned } from "./objects.js";

const PAGE = 500;

interface MessagePage {
  messages: (Message & { seq: number })[];
  next?: number;
}

/** A tenant has a token, signing keys, a clock and a state of its own. */
export class Tenant {
  readonly faults: Faults;

  constructor(readonly environment: Environment) {
    this.faults = new Faults(this);
  }

  /** The server's URL. */
  get url(): string {
    return this.environment.QSTASH_URL;
  }

  /** What time it is for the tenant. */
  clock(): Promise<Clock> {
    return this.call("GET", "/emulator/clock");
  }

  /**
   * Turn the clock on by a duration (`"24h"`, `"1d10h30m"`), or to an instant. Everything that falls due on the way has
   * happened when this returns. Throws when the clock is not manual, or would be turned back.
   */
  advance(by: string | Date): Promise<Turned> {
    return this.call("POST", "/emulator/clock/advance", typeof by === "string" ? { by } : { to: by.getTime() });
  }

  /** Turn the clock until no message is pending. Throws, naming what keeps going round, at the limit (30 days). */
  runUntilIdle(options: { limit?: string } = {}): Promise<Turned> {
    return this.call("POST", "/emulator/clock/run-until-idle", options);
  }

  /** The messages, oldest first. */
  async messages(filter: MessageFilter = {}): Promise<Message[]> {
    const found: (Message & { seq: number })[] = [];
    let next: number | undefined;
    do {
      const page: MessagePage = await this.call("GET", `/emulator/messages?${query(filter, next)}`);
      found.push(...page.messages);
      next = page.next;
    } while (next !== undefined);
    return found.reverse().map(({ seq: _, ...message }) => message);
  }

  /** Every delivery attempt of these messages, in the order in which they began. */
  async deliveries(filter: MessageFilter = {}): Promise<Delivery[]> {
    const found: Delivery[] = [];
    for (const { messageId } of await this.messages(filter)) {
      const path = `/emulator/messages/${encodeURIComponent(messageId)}`;
      const { attempts } = await this.call<{ attempts: Omit<Delivery, "messageId">[] }>("GET", path);
      found.push(...attempts.map((attempt) => ({ messageId, ...attempt })));
    }
    return found.sort((one, other) => one.startedAt - other.startedAt);
  }

  /** Throw the tenant's state and faults away; its token, keys and clock stay. */
  async reset(): Promise<void> {
    await this.call("POST", "/emulator/reset");
  }

  /** Make another tenant of the same server. */
  async newTenant(name?: string): Promise<Tenant> {
    const made: { token: string; currentSigningKey: string; nextSigningKey: string } = await this.call(
      "POST",
      "/emulator/tenants",
      name === undefined ? {} : { name },
    );
    return new Tenant({
      QSTASH_URL: this.url,
      QSTASH_TOKEN: made.token,
      QSTASH_CURRENT_SIGNING_KEY: made.currentSigningKey,
      QSTASH_NEXT_SIGNING_KEY: made.nextSigningKey,
    });
  }

  /** Call any path as this tenant; the JSON that is answered. Throws an Error with the server's words. */
  async call<Answer>(method: string, path: string, body?: object): Promise<Answer> {
    const response = await fetch(this.url + path, {
      method,
      headers: { authorization: `Bearer ${this.environment.QSTASH_TOKEN}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return (text ? JSON.parse(text) : undefined) as Answer;
  }
}

/** What goes wrong on purpose, for one tenant. */
export class Faults {
  readonly #tenant: Tenant;

  constructor(tenant: Tenant) {
    this.#tenant = tenant;
  }

  /** Have something go wrong. Without conditions it strikes everything. */
  add(kind: FaultKind, fields: FaultFields = {}): Promise<Fault> {
    return this.#tenant.call("POST", "/emulator/faults", { kind, ...fields });
  }

  /** The faults that are on. */
  async list(): Promise<Fault[]> {
    return (await this.#tenant.call<{ faults: Fault[] }>("GET", "/emulator/faults")).faults;
  }

  /** End one fault, or all of them. */
  async remove(id?: string): Promise<void> {
    await this.#tenant.call("DELETE", id === undefined ? "/emulator/faults" : `/emulator/faults/${id}`);
  }
}

/** The tenant that this process's QSTASH_* variables name. */
export function currentTenant(): Tenant {
  return new Tenant(readEnvironment());
}

/**
 * Make a tenant, and set this process's QSTASH_* variables to it: a test that begins with this shares nothing with
 * any other. Clients that were made before keep the tenant that they have.
 */
export async function newTenant(name?: string): Promise<Tenant> {
  const tenant = await currentTenant().newTenant(name);
  setEnvironment(tenant.environment);
  return tenant;
}

function query(filter: MessageFilter, before: number | undefined): URLSearchParams {
  const parameters = new URLSearchParams({ count: String(PAGE) });
  for (const [name, value] of Object.entries(filter) as [string, string | string[] | undefined][]) {
    for (const one of value === undefined ? [] : [value].flat()) parameters.append(name, one);
  }
  if (before !== undefined) parameters.set("before", String(before));
  return parameters;
}
