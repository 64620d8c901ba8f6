// A backup as a file: encrypted by the control plane, or not when that was asked for. The browser
// keeps a long answer on its own disk.
import { refusal } from "./client";
import { session } from "./state";

export type Choice = { kind: "passphrase"; passphrase: string } | { kind: "recipient"; recipient: string } | { kind: "unencrypted" };

/** Shortest passphrase that the control plane takes, in characters. */
export const SHORTEST = 12;

/** What keeps a choice from being carried out; undefined: nothing. */
export function missing(choice: Choice): string | undefined {
  if (choice.kind === "passphrase" && [...choice.passphrase].length < SHORTEST) return `A passphrase has at least ${SHORTEST} characters.`;
  if (choice.kind === "recipient" && !/^age1[a-z0-9]{58}$/.test(choice.recipient.trim())) return "A recipient begins with age1 and has 62 characters.";
  return undefined;
}

export async function backedUp(choice: Choice, now = new Date()): Promise<{ name: string; content: Blob }> {
  const open = session.get();
  // One that is not encrypted needs no words about who opens it: its route takes no body.
  const who = choice.kind === "passphrase" ? { passphrase: choice.passphrase } : choice.kind === "recipient" ? { recipients: [choice.recipient.trim()] } : undefined;
  const answer = await fetch(choice.kind === "unencrypted" ? "/api/v1/backup/unencrypted" : "/api/v1/backup", {
    method: "POST",
    credentials: "same-origin",
    headers: { ...(who ? { "content-type": "application/json" } : {}), ...(open.kind === "open" ? { "X-CSRF-Token": open.csrf } : {}) },
    ...(who ? { body: JSON.stringify(who) } : {}),
  });
  if (!answer.ok) throw refusal(answer.status, await answer.json().catch(() => undefined));
  return { name: `holdfast-${now.toISOString().slice(0, 10)}.tar${choice.kind === "unencrypted" ? "" : ".age"}`, content: await answer.blob() };
}
