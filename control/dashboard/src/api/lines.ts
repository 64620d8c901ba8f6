// A request whose answer comes line by line: progress, and at last the result. Closing the
// connection cancels it.
import { Refusal, refusal } from "./client";
import { lost } from "./reach";
import { session } from "./state";

/** Sends it, tells how far it is, and gives the result. */
export async function jsonLines<Progress, Result>(path: string, body: unknown, signal: AbortSignal, told: (progress: Progress) => void): Promise<Result> {
  const now = session.get();
  const headers = { "content-type": "application/json", accept: "application/x-ndjson", ...(now.kind === "open" ? { "X-CSRF-Token": now.csrf } : {}) };
  let response: Response;
  try {
    response = await fetch(path, { method: "POST", body: JSON.stringify(body), headers, signal, credentials: "same-origin" });
  } catch (error) {
    if (signal.aborted) throw error;
    lost();
    throw new Refusal(0, "unreachable", "the control plane did not answer");
  }
  if (!response.ok || !response.body) throw refusal(response.status, await response.json().catch(() => undefined));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    const parts = (rest + (value ?? "")).split("\n");
    rest = done ? "" : (parts.pop() ?? "");
    for (const part of parts) {
      if (part.trim() === "") continue;
      const line = JSON.parse(part) as { progress?: Progress; result?: Result; failed?: string };
      if (line.progress) told(line.progress);
      if (line.result) return line.result;
      if (line.failed !== undefined) throw new Refusal(response.status, "unknown", line.failed);
    }
    if (done) throw new Refusal(0, "cut", "the answer ended before it was whole");
  }
}
