// What changes, as it changes: one stream of server-sent events for all tabs of this browser. It
// marks what is stale; React Query fetches what is on the page. When the stream breaks, the control
// plane is out of reach until it opens again; then everything is read anew.
import { queries } from "./query-client";
import { lost, reach, regained } from "./reach";
import { resume } from "./session";
import { session } from "./state";
import { store } from "./store";
import type { Event } from "./types";

/** First refresh after an event; then, while events keep coming, this far apart. */
const SOON = 120;
const APART = 1_500;
/** Waits between attempts to open the stream, with jitter. */
const RETRY_FIRST = 500;
const RETRY_LAST = 10_000;
/** Events that the Fleet page shows. */
const KEPT = 50;

/** The newest events since this page was opened, newest first. */
export const recent = store<readonly Event[]>([]);

const KINDS = ["device", "workload", "stream", "linkbudget", "token", "access", "reset"] as const;

type Message = { event: Event } | { broken: number } | { open: true } | { wake: true } | { ended: true };

const LOCK = "holdfast-events";

/** Tabs share one stream: a browser allows six connections to a server over HTTP/1.1. */
const channel = new BroadcastChannel("holdfast-events");
channel.onmessage = ({ data }: MessageEvent<Message>) => take(data);

function say(message: Message): void {
  channel.postMessage(message);
  take(message);
}

/** This tab reads the stream for all. */
let leading = false;
/** It does so from its beginning: the first opening follows its first reads, and ends no gap. */
let fresh = false;

function take(message: Message): void {
  if ("wake" in message) {
    // Somebody logged in in another tab; the cookie is this tab's too.
    if (session.get().kind !== "open") void resume();
  } else if ("ended" in message) {
    // So is its end: a tab that does not read the stream would not notice.
    if (session.get().kind === "open") void resume();
  } else if ("broken" in message) lost();
  else if ("open" in message) {
    regained();
    if (!fresh) void queries.invalidateQueries();
    fresh = false;
  } else heard(message.event);
}

function heard(event: Event): void {
  if (event.type === "reset") {
    stale([]);
    return;
  }
  recent.set([event, ...recent.get()].slice(0, KEPT));
  if (event.type === "device") stale(["device", event.name], ["devices"], ["fleet"], ["labels"], ["audit"], ["workloads"], ["workload"], ["tokens"]);
  else if (event.type === "workload") stale(["workload", event.name], ["workloads"], ["devices"], ["device"], ["fleet"], ["audit"]);
  else if (event.type === "token") stale(["tokens"], ["audit"]);
  else stale([event.type], ["audit"]);
}

const waiting = new Map<string, readonly string[]>();
let timer: ReturnType<typeof setTimeout> | undefined;
let last = 0;

function stale(...keys: string[][]): void {
  for (const key of keys) waiting.set(JSON.stringify(key), key);
  timer ??= setTimeout(flush, Math.max(SOON, last + APART - Date.now()));
}

function flush(): void {
  timer = undefined;
  last = Date.now();
  const keys = [...waiting.values()];
  waiting.clear();
  for (const queryKey of keys) void queries.invalidateQueries({ queryKey });
}

let source: EventSource | undefined;
let wait = RETRY_FIRST;
let retry: ReturnType<typeof setTimeout> | undefined;

function open(): void {
  clearTimeout(retry);
  retry = undefined;
  if (session.get().kind !== "open") return;
  source?.close();
  const made = new EventSource("/api/v1/events");
  source = made;
  made.onopen = () => {
    wait = RETRY_FIRST;
    say({ open: true });
  };
  for (const kind of KINDS) made.addEventListener(kind, ({ data }: MessageEvent<string>) => say({ event: JSON.parse(data) as Event }));
  made.onerror = () => {
    made.close();
    if (source === made) source = undefined;
    void again();
  };
}

/** The stream broke: is it the session, or is nobody there? */
async function again(): Promise<void> {
  if (!(await resume())) say({ broken: Date.now() });
  if (session.get().kind !== "open") return;
  clearTimeout(retry);
  retry = setTimeout(open, wait * (0.75 + Math.random() / 2));
  wait = Math.min(wait * 2, RETRY_LAST);
}

/** Tries at once: the reader pressed a key, or the network came back. */
export function tryNow(): void {
  wait = RETRY_FIRST;
  if (leading) open();
  else void resume().then((answered) => answered && void queries.invalidateQueries());
}

/** Called once. The tab that holds the lock reads the stream for all. */
export function watch(): void {
  const lead = () => {
    leading = true;
    session.subscribe(() => {
      const open_ = session.get().kind === "open";
      if (open_ && !source && !retry) open();
      if (!open_) {
        source?.close();
        source = undefined;
      }
    });
    open();
    return new Promise<never>(() => undefined);
  };
  session.subscribe(() => {
    channel.postMessage((session.get().kind === "open" ? { wake: true } : { ended: true }) satisfies Message);
  });
  const first = () => {
    fresh = true;
    return lead();
  };
  if (!("locks" in navigator)) void first();
  else void navigator.locks.request(LOCK, { ifAvailable: true }, (lock) => (lock ? first() : void navigator.locks.request(LOCK, lead)));
  addEventListener("online", tryNow);
  // A request that failed while the stream seems to stand: the stream will tell; look sooner.
  reach.subscribe(() => {
    if (reach.get().since !== undefined && (!leading || source?.readyState === EventSource.OPEN)) void probe();
  });
}

async function probe(): Promise<void> {
  for (let pause = RETRY_FIRST; reach.get().since !== undefined; pause = Math.min(pause * 2, RETRY_LAST)) {
    await new Promise((go) => setTimeout(go, pause));
    if (await resume()) {
      await queries.invalidateQueries();
      return;
    }
  }
}
