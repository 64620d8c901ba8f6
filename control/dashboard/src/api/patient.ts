// A request that a device answers by way of the control plane: how long that takes nobody here knows,
// so it has no time limit of the pages' own. Closing the tab ends it.
import { Refusal, refusal } from "./client";
import { lost, word } from "./reach";
import { session } from "./state";

export async function patiently<T>(method: "GET" | "POST" | "DELETE", path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const now = session.get();
  const headers = { ...(body === undefined ? {} : { "content-type": "application/json" }), ...(method !== "GET" && now.kind === "open" ? { "X-CSRF-Token": now.csrf } : {}) };
  let answer: Response;
  let text: string;
  try {
    answer = await fetch(path, { method, headers, credentials: "same-origin", cache: "no-store", ...(body === undefined ? {} : { body: JSON.stringify(body) }), ...(signal ? { signal } : {}) });
    text = await answer.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    lost();
    throw new Refusal(0, "unreachable", "the control plane did not answer");
  }
  word();
  if (answer.status === 401 && now.kind === "open") session.set({ kind: "ended", operator: now.operator });
  let known: unknown;
  try {
    known = text === "" ? undefined : JSON.parse(text);
  } catch {
    throw refusal(answer.status, undefined);
  }
  if (!answer.ok) throw refusal(answer.status, known);
  return known as T;
}
