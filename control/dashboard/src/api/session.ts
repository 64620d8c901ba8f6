// Login and logout. The server keeps the session in a cookie that no script can read.
import { ask, client, Refusal } from "./client";
import { queries } from "./query-client";
import { regained } from "./reach";
import { session, type Opened } from "./state";
import { forget } from "./wire";

/** How long the server may take to say who is logged in. */
const PROMPT = 8_000;

/** Asks the server whether the cookie is good. False: it could not be asked. */
export async function resume(): Promise<boolean> {
  try {
    const found = await ask(client.GET("/api/v1/session", { signal: AbortSignal.timeout(PROMPT) }));
    opened(found);
    return true;
  } catch (error) {
    if (!(error instanceof Refusal) || error.status !== 401) return false;
    regained();
    const now = session.get();
    session.set(now.kind === "open" || now.kind === "ended" ? { kind: "ended", operator: now.operator, ...(now.operatorName ? { operatorName: now.operatorName } : {}) } : { kind: "none" });
    return true;
  }
}

export function opened(found: Opened): void {
  const before = session.get();
  // Another operator's pages are not this one's.
  if (before.kind === "ended" && before.operator !== found.operator) {
    queries.clear();
    forget();
  }
  regained();
  session.set({ kind: "open", ...found });
}

/** The form logged in: what is on the page may be another operator's, or old. */
export async function loggedIn(found: Opened): Promise<void> {
  opened(found);
  await queries.invalidateQueries();
}

export async function logout(): Promise<void> {
  const now = session.get();
  await ask(client.DELETE("/api/v1/session", { params: { header: { "X-CSRF-Token": now.kind === "open" ? now.csrf : "" } } }));
  session.set({ kind: "none" });
  queries.clear();
  forget();
}
