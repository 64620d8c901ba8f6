// Files to the API, with how far they are: `fetch` does not tell, XMLHttpRequest does. The file is
// streamed from the disk by the browser and never held in memory. An upload belongs to the pages, not
// to one of them: it goes on while others are looked at.
import { Refusal, refusal } from "./client";
import { session } from "./state";
import { store, type Store } from "./store";

export type Upload<T> =
  | { kind: "none" }
  | { kind: "sending"; name: string; size: number; sent: number; cancel: () => void }
  /** All is sent; the control plane checks and stores it, and cannot be stopped from here. */
  | { kind: "storing"; name: string; size: number }
  | { kind: "done"; name: string; size: number; answer: T }
  | { kind: "failed"; name: string; why: string; faults: Refusal["faults"] }
  | { kind: "cancelled"; name: string };

interface To<T> {
  method: "PUT" | "POST";
  path: string;
  type: string;
  /** What is wrong with a good answer, if something is. */
  doubt?: (answer: T, file: File) => string | undefined;
  /** What is not known when the answer to a whole file never came. */
  unknown: string;
}

export interface Uploader<T> {
  now: Store<Upload<T>>;
  /** Resolves when it is over, however it ended; `now` says how. */
  send(file: File, headers?: Record<string, string>): Promise<void>;
  /** Forgets how the last one ended. */
  forget(): void;
}

export function busy(upload: Upload<unknown>): boolean {
  return upload.kind === "sending" || upload.kind === "storing";
}

/** One upload at a time to one place of the API. */
export function uploader<T>(to: To<T>, done?: (answer: T) => void | Promise<void>): Uploader<T> {
  const now = store<Upload<T>>({ kind: "none" });
  // Closing the tab would end it.
  addEventListener("beforeunload", (event) => {
    if (busy(now.get())) event.preventDefault();
  });
  const send = async (file: File, headers: Record<string, string> = {}) => {
    if (busy(now.get())) return;
    const { name, size } = file;
    try {
      const answer = await transfer<T>(to, file, headers, (step) => now.set(step));
      if (answer === undefined) {
        now.set({ kind: "cancelled", name });
        return;
      }
      const doubt = to.doubt?.(answer, file);
      if (doubt) throw new Error(doubt);
      now.set({ kind: "done", name, size, answer });
      await done?.(answer);
    } catch (error) {
      const refused = error instanceof Refusal ? error : undefined;
      now.set({ kind: "failed", name, why: error instanceof Error ? error.message : String(error), faults: refused?.faults ?? [] });
    }
  };
  return { now, send, forget: () => !busy(now.get()) && now.set({ kind: "none" }) };
}

/** Undefined: it was cancelled. */
function transfer<T>(to: To<T>, file: File, headers: Record<string, string>, step: (upload: Upload<T>) => void): Promise<T | undefined> {
  const { name, size } = file;
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    let whole = false;
    const sending = (sent: number) => step({ kind: "sending", name, size, sent, cancel: () => request.abort() });
    request.open(to.method, to.path);
    request.responseType = "text";
    request.setRequestHeader("Content-Type", to.type);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    const open = session.get();
    if (open.kind === "open") request.setRequestHeader("X-CSRF-Token", open.csrf);
    request.upload.onprogress = ({ loaded }) => sending(loaded);
    request.upload.onload = () => {
      whole = true;
      step({ kind: "storing", name, size });
    };
    request.onload = () => {
      const { status } = request;
      if (status === 401 && open.kind === "open") session.set({ kind: "ended", operator: open.operator });
      const body = json(request.responseText);
      if (status >= 200 && status < 300 && body !== undefined) resolve(body as T);
      else reject(refusal(status, body));
    };
    request.onabort = () => resolve(undefined);
    // Whether the control plane is out of reach, the event stream tells: the file may be at fault.
    request.onerror = () => reject(new Refusal(0, "unreachable", whole ? `The connection ended before the answer came. ${to.unknown}` : "The connection ended, or the file could not be read to its end: it may have changed or gone meanwhile. Nothing was stored."));
    sending(0);
    request.send(file);
  });
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
