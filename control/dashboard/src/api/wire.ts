// How a request goes out and its answer comes in: with a time limit that counts anew with each piece
// that comes, and short: an answer that is kept here is asked for by its tag, and only what changed
// crosses the link. The answers are kept in memory alone.
import { word } from "./reach";

/** Without a piece of the answer for this long a read is given up, in milliseconds. */
export const READ = 20_000;
/** A change may have to wait for the disk, and a dry run looks at every device. */
const CHANGE = 60_000;

/** Answers that are kept: as many, of at most so many characters each. */
const KEPT = 60;
const LONGEST = 400_000;

/** No answer within the time limit. */
export class Late extends Error {
  constructor(readonly seconds: number) {
    super(`the control plane gave no answer for ${seconds} s`);
    this.name = "Late";
  }
}

interface Known {
  tag: string;
  text: string;
}

const kept = new Map<string, Known>();

/** What was answered to one operator is not kept for another. */
export function forget(): void {
  kept.clear();
}

/** When the requests under way began. */
const pending = new Set<{ at: number }>();

/** When the oldest request that still waits began. */
export function waitingSince(): number | undefined {
  let oldest: number | undefined;
  for (const { at } of pending) if (oldest === undefined || at < oldest) oldest = at;
  return oldest;
}

/** A `fetch` with all of that. */
export async function send(request: Request): Promise<Response> {
  const reads = request.method === "GET";
  const limit = reads ? READ : CHANGE;
  const known = reads ? kept.get(request.url) : undefined;
  if (known) request.headers.set("If-None-Match", known.tag);
  const stop = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const wait = () => {
    clearTimeout(timer);
    timer = setTimeout(() => stop.abort(new Late(limit / 1000)), limit);
  };
  const entry = { at: Date.now() };
  pending.add(entry);
  try {
    wait();
    const answer = await fetch(request, { signal: AbortSignal.any([request.signal, stop.signal]), cache: "no-store" });
    word();
    if (answer.status === 304 && known) {
      keep(request.url, known);
      return new Response(known.text, { status: 200, headers: answer.headers });
    }
    const text = await whole(answer, wait);
    const tag = answer.headers.get("ETag");
    if (reads && answer.status === 200 && tag && text.length <= LONGEST) keep(request.url, { tag, text });
    const empty = answer.status === 204 || answer.status === 304;
    return new Response(empty ? null : text, { status: answer.status, statusText: answer.statusText, headers: answer.headers });
  } finally {
    clearTimeout(timer);
    pending.delete(entry);
  }
}

/** The newest last; the oldest go. */
function keep(url: string, known: Known): void {
  kept.delete(url);
  kept.set(url, known);
  for (const oldest of kept.keys()) {
    if (kept.size <= KEPT) break;
    kept.delete(oldest);
  }
}

async function whole(answer: Response, wait: () => void): Promise<string> {
  if (!answer.body) return "";
  const reader = answer.body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    word();
    wait();
    text += decoder.decode(value, { stream: true });
  }
}
