// Who is logged in, and logging in: the first words with the control plane. Small, and without any
// library: this stands before the rest of the dashboard is here.

export interface Found {
  operator: string;
  csrf: string;
  expiresAt: string;
}

/** An answer may take so long, in milliseconds. */
const LIMIT = 20_000;

async function ask(init: RequestInit): Promise<Response> {
  try {
    return await fetch("/api/v1/session", { ...init, credentials: "same-origin", cache: "no-store", signal: AbortSignal.timeout(LIMIT) });
  } catch {
    throw new Error("The control plane did not answer. Try again.");
  }
}

/** The open session of this browser; undefined: there is none. */
export async function whoami(): Promise<Found | undefined> {
  const answer = await ask({});
  if (answer.ok) return (await answer.json()) as Found;
  if (answer.status === 401) return undefined;
  throw new Error(`The control plane answered with status ${answer.status}.`);
}

/** Logs in. Rejects with why not, in words. */
export async function enter(token: string): Promise<Found> {
  const answer = await ask({ method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ token }) });
  const body = (await answer.json().catch(() => undefined)) as { error?: { message?: string } } | undefined;
  if (answer.ok) return body as unknown as Found;
  if (answer.status === 401) throw new Error("This access token is not known, or it has expired or was revoked. Check that it was copied whole. Tokens are made under Settings, Access tokens, by somebody who is an admin.");
  throw new Error(body?.error?.message ?? `The control plane answered with status ${answer.status}.`);
}
