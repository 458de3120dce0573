/** The variables by which `@upstash/qstash` and `@upstash/workflow` find a server. */

export interface Environment {
  QSTASH_URL: string;
  QSTASH_TOKEN: string;
  QSTASH_CURRENT_SIGNING_KEY: string;
  QSTASH_NEXT_SIGNING_KEY: string;
}

const NAMES = ["QSTASH_URL", "QSTASH_TOKEN", "QSTASH_CURRENT_SIGNING_KEY", "QSTASH_NEXT_SIGNING_KEY"] as const;

/** Both make the clients look elsewhere. */
const MISLEADING = ["QSTASH_DEV", "QSTASH_REGION"] as const;

/** Have clients that this process makes from now on find the tenant. A client reads the variables when it is made. */
export function setEnvironment(environment: Environment): void {
  Object.assign(process.env, environment);
  for (const name of MISLEADING) delete process.env[name];
}

/** The four variables of this process. Throws an Error that names the one that is missing. */
export function readEnvironment(env: NodeJS.ProcessEnv = process.env): Environment {
  const found = NAMES.map((name) => {
    const value = env[name];
    if (!value) throw new Error(`${name} is not set: is globalSetup "qstash-emulator/vitest" or "/jest" there?`);
    return [name, value] as const;
  });
  return Object.fromEntries(found) as unknown as Environment;
}

/** Read the lines that a server prints: `NAME="value"`. Other lines are ignored. */
export function parseAnnouncement(text: string): Partial<Environment> {
  const lines = text.matchAll(/^(QSTASH_\w+)="([^"]*)"\r?$/gm);
  return Object.fromEntries(
    // The server listens on the IPv4 loopback; some resolvers try the other one first.
    [...lines].map(([, name, value]) => [name, value?.replace("//localhost:", "//127.0.0.1:")]),
  ) as Partial<Environment>;
}
