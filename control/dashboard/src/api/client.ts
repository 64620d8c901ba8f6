// The API, typed from its own description. Changes carry the session's CSRF token; every refusal
// becomes a Refusal with the server's own words. Time limits and short answers: `wire.ts`.
import createClient, { type Middleware } from "openapi-fetch";
import type { Fault } from "../lib/faults";
import type { components, paths } from "./schema";
import { lost, reach } from "./reach";
import { session } from "./state";
import { Late, send } from "./wire";

/** The API's codes, and those of an answer that did not come or was none of the API's. */
export type RefusalCode = components["schemas"]["ApiCode"] | "late" | "unreachable" | "cut" | "unknown";

/** A refusal, or no answer at all (status 0). */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: RefusalCode,
    message: string,
    readonly faults: readonly Fault[] = [],
  ) {
    super(message);
    this.name = "Refusal";
  }
}

const OUT_OF_REACH = "the control plane did not answer";

const guard: Middleware = {
  onRequest({ request }) {
    const now = session.get();
    if (request.method !== "GET" && request.method !== "HEAD" && now.kind === "open") {
      request.headers.set("X-CSRF-Token", now.csrf);
    }
    return request;
  },
  onResponse({ response, schemaPath }) {
    // A code that is wrong ends no session.
    if (response.status === 401 && schemaPath !== "/api/v1/session" && schemaPath !== "/api/v1/me/second-factor/confirm") {
      const now = session.get();
      if (now.kind === "open") session.set({ kind: "ended", operator: now.operator });
    }
  },
  onError({ error, request }) {
    // Given up because nobody wants the answer any more: that says nothing of the control plane.
    if (request.signal.aborted) return;
    // One answer that is late is no outage: the event stream tells whether anybody is there.
    if (error instanceof Late) return new Refusal(0, "late", error.message);
    lost();
    return new Refusal(0, "unreachable", OUT_OF_REACH);
  },
};

export const client = createClient<paths>({ baseUrl: location.origin, credentials: "same-origin", fetch: send });
client.use(guard);

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** The data of an answer, or its Refusal thrown. */
export async function ask<T>(answer: Promise<Answer<T>>): Promise<T> {
  const { data, error, response } = await answer;
  if (response.ok) return data as T;
  throw refusal(response.status, error);
}

/** Reads the body of an error, whatever it is. */
export function refusal(status: number, body: unknown): Refusal {
  const error = (body as { error?: { code?: unknown; message?: unknown; faults?: unknown } } | undefined)?.error;
  const text = typeof error?.message === "string" ? error.message : `the control plane answered with status ${status}`;
  const faults = Array.isArray(error?.faults) ? (error.faults as Fault[]) : [];
  return new Refusal(status, typeof error?.code === "string" ? (error.code as RefusalCode) : "unknown", text, faults);
}

/** Why something failed, in words. */
export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export function isOutOfReach(error: unknown): boolean {
  return error instanceof Refusal && error.status === 0 && reach.get().since !== undefined;
}
