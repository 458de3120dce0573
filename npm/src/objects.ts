/** What the control API answers. Times are unix milliseconds, and pass on the tenant's own clock. */

export type State =
  | "CREATED"
  | "ACTIVE"
  | "RETRY"
  | "ERROR"
  | "IN_PROGRESS"
  | "DELIVERED"
  | "FAILED"
  | "CANCEL_REQUESTED"
  | "CANCELED";

export interface Clock {
  mode: "system" | "manual";
  now: number;
  /** `null` when nothing is due by itself. */
  nextDue: number | null;
}

/** What happened while the clock was turned. */
export interface Turned {
  now: number;
  nextDue: number | null;
  /** Delivery attempts made on the way, all of them awaited. */
  delivered: number;
  /** Schedules fired on the way. */
  fired: number;
}

export interface Message {
  messageId: string;
  url: string;
  method: string;
  state: State;
  createdAt: number;
  /** Attempts made beyond the first. */
  retried: number;
  maxRetries: number;
  dueAt?: number;
  finishedAt?: number;
  queueName?: string;
  scheduleId?: string;
  topicName?: string;
  flowControlKey?: string;
  labels?: string[];
  isCallback?: boolean;
}

/** One delivery attempt. */
export interface Delivery {
  messageId: string;
  /** 1 for the first attempt. */
  number: number;
  dueAt: number;
  startedAt: number;
  request: { method: string; url: string; headers: [string, string][] };
  /** `null` while it is under way. */
  outcome: "DELIVERED" | "ERROR" | "FAILED" | "CANCELED" | null;
  endedAt?: number;
  error?: string;
  response?: { status: number; headers: [string, string][]; body?: string; bodyBase64?: string };
  next?: { at: number; waitMs: number };
}

/** Which messages are meant; all conditions that are given must hold. */
export interface MessageFilter {
  url?: string;
  queueName?: string;
  label?: string;
  scheduleId?: string;
  topicName?: string;
  /** A text in the id, the URL or the body. */
  text?: string;
  state?: State | State[];
}

export type FaultKind =
  | "refuse"
  | "drop"
  | "answer"
  | "delay"
  | "time-out"
  | "cut-response"
  | "deliver-twice"
  | "out-of-order"
  | "wrong-signature"
  | "expired-signature"
  | "other-url-signature"
  | "next-key-signature"
  | "crash"
  | "publish-answer"
  | "publish-silence";

/** Which deliveries or publishes a fault strikes, and how. */
export interface FaultFields {
  destination?: string;
  queue?: string;
  label?: string;
  header?: string | Record<string, string>;
  body?: string | Record<string, unknown>;
  skip?: number;
  count?: number;
  probability?: number;
  seed?: number;
  status?: number;
  responseHeaders?: Record<string, string>;
  responseBody?: string;
  /** A duration such as `30s`. */
  delay?: string;
  accepted?: boolean;
}

export interface Fault extends FaultFields {
  id: string;
  kind: FaultKind;
  /** How often it has struck. */
  struck: number;
}
