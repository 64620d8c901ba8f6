// Who is logged in, and logging in: the first words with the control plane. Small, and without any
// library: this stands before the rest of the dashboard is here.

export interface Found {
  operator: string;
  csrf: string;
  expiresAt: string;
  /** Somebody else has set the password: the user is asked to choose another. */
  mustChange?: boolean;
}

/** What one logs in with. */
export type Proof = { token: string } | { user: string; password: string; code?: string; tenant?: string };

/** An answer may take so long, in milliseconds. A login may wait for others. */
const LIMIT = 20_000;

/** The API's refusal of a login: the code of a second factor is missing or wrong. */
export class NeedsCode extends Error {}

async function ask(path: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(path, { ...init, credentials: "same-origin", cache: "no-store", signal: AbortSignal.timeout(LIMIT) });
  } catch {
    throw new Error("The control plane did not answer. Try again.");
  }
}

async function refusal(answer: Response): Promise<{ code?: string; message: string }> {
  const body = (await answer.json().catch(() => undefined)) as { error?: { code?: string; message?: string } } | undefined;
  return { message: `The control plane answered with status ${answer.status}.`, ...body?.error };
}

const JSON_TYPE = { "content-type": "application/json" };

/** The open session of this browser; undefined: there is none. */
export async function whoami(): Promise<Found | undefined> {
  const answer = await ask("/api/v1/session", {});
  if (answer.ok) return (await answer.json()) as Found;
  if (answer.status === 401) return undefined;
  throw new Error(`The control plane answered with status ${answer.status}.`);
}

/** Logs in. Rejects with why not, in words. */
export async function enter(proof: Proof): Promise<Found> {
  const answer = await ask("/api/v1/session", { method: "POST", headers: JSON_TYPE, body: JSON.stringify(proof) });
  if (answer.ok) return (await answer.json()) as Found;
  const { code, message } = await refusal(answer);
  if (code === "second-factor") throw new NeedsCode(message);
  if (answer.status === 401 && "token" in proof) throw new Error("This access token is not known, or it has expired or was revoked. Check that it was copied whole. Tokens are made under Settings, Access tokens, by somebody who is an admin.");
  if (answer.status === 401) throw new Error("The name or the password is wrong, or the user may not log in. Somebody who is an admin can set another password.");
  throw new Error(message);
}

/** Changes the password of whoever is logged in. Rejects with why not, in words. */
export async function change(found: Found, password: string, newPassword: string): Promise<void> {
  const answer = await ask("/api/v1/me/password", { method: "POST", headers: { ...JSON_TYPE, "x-csrf-token": found.csrf }, body: JSON.stringify({ password, newPassword }) });
  if (!answer.ok) throw new Error((await refusal(answer)).message);
}

/** Names of the identity providers that one can log in by. */
export async function providers(tenant: string | undefined): Promise<string[]> {
  const answer = await ask(`/api/v1/providers${tenant ? `?tenant=${encodeURIComponent(tenant)}` : ""}`, {}).catch(() => undefined);
  if (!answer?.ok) return [];
  const { items } = (await answer.json()) as { items: { name: string }[] };
  return items.map(({ name }) => name);
}

const SAID = "__Host-holdfast-said";

/** Why a login by a provider failed; said once. It comes by a cookie, so that no link can put words here. */
export function said(): string | undefined {
  const value = new RegExp(`(?:^|; )${SAID}=([\\w-]+)`).exec(document.cookie)?.[1];
  if (!value) return undefined;
  document.cookie = `${SAID}=; Path=/; Secure; SameSite=Strict; Max-Age=0`;
  try {
    const bytes = Uint8Array.from(atob(value.replaceAll("-", "+").replaceAll("_", "/")), (sign) => sign.charCodeAt(0));
    return new TextDecoder().decode(bytes);
  } catch {
    return undefined;
  }
}
