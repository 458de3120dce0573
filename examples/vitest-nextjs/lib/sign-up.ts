import { Client } from "@upstash/qstash";

/** Have a user welcomed an hour after they signed up. `origin` is where this app is reached. */
export async function signUp(origin: string, email: string): Promise<void> {
  await new Client().publishJSON({ url: `${origin}/api/welcome`, body: { email }, delay: "1h", retries: 5 });
}
