// What changes, as it changes: one stream of server-sent events for all tabs of this browser. It
// marks what is stale; React Query fetches what is on the page, at a pace (`lib/pace.ts`). A stream
// that breaks, or is silent though it is open, means that the control plane is out of reach until it
// opens again; then everything is read anew.
import { link, OPENING, SILENT } from "../lib/live";
import { again as dataAgain, Pace } from "../lib/pace";
import { DATA, stale, type Keys } from "../lib/stale";
import { queries } from "./query-client";
import { lastWord, lost, reach, regained, word } from "./reach";
import { can } from "./rights";
import { resume } from "./session";
import { session } from "./state";
import { store } from "./store";
import type { Event } from "./types";

/** Waits between attempts to open the stream, with jitter. */
const RETRY_FIRST = 500;
const RETRY_LAST = 10_000;
/** Events that the Fleet page shows. */
const KEPT = 50;
/** A tab that does not read the stream leaves it to the one that does, for so much longer. */
const LEAVE = 6_000;

/** The newest events since this page was opened, newest first. */
export const recent = store<readonly Event[]>([]);

const KINDS = ["device", "workload", "image", "stream", "linkbudget", "token", "access", "notification", "alarm", "devicepolicy", "secret", "config", "user", "rolebinding", "tenant", "reset"] as const;

type Message = { event: Event } | { broken: number } | { open: true } | { wake: true } | { ended: true } | { word: number };

const LOCK = "holdfast-events";

/** Without the right to the stream, this often the control plane is asked whether it is there, and what
 * is on the page is read anew, in milliseconds. */
const ASKED = 15_000;

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
  else if ("word" in message) word(message.word);
  else if ("open" in message) {
    regained();
    if (!fresh) void queries.invalidateQueries();
    fresh = false;
  } else heard(message.event);
}

function heard(event: Event): void {
  word();
  if (event.type === "reset") {
    void queries.invalidateQueries();
    return;
  }
  recent.set([event, ...recent.get()].slice(0, KEPT));
  mark(stale(event), `${event.type}/${event.name}`);
}

const pace = new Pace();
/** What is stale, with when it is read anew. */
const waiting = new Map<string, { key: readonly string[]; due: number }>();
let timer: ReturnType<typeof setTimeout> | undefined;

function mark(keys: Keys, by: string): void {
  const now = Date.now();
  for (const key of keys) {
    const name = key.join("/");
    const due = pace.due(name, by, now);
    const before = waiting.get(name)?.due ?? Infinity;
    waiting.set(name, { key, due: Math.min(due, before) });
  }
  plan();
}

function plan(): void {
  clearTimeout(timer);
  timer = undefined;
  const next = Math.min(...[...waiting.values()].map(({ due }) => due));
  if (next < Infinity) timer = setTimeout(flush, Math.max(0, next - Date.now()));
}

function flush(all = false): void {
  const now = Date.now();
  for (const [name, { key, due }] of waiting) {
    // What is due in a moment goes along: one round of requests instead of two.
    if (!all && due > now + 250) continue;
    waiting.delete(name);
    pace.read(name, now);
    void queries.invalidateQueries({ queryKey: key, predicate: ({ queryKey }) => queryKey[0] !== "device" || !DATA.has(queryKey[2]) });
  }
  plan();
}

/** When the reader last did something. */
let acted = Date.now();

function act(): void {
  const now = Date.now();
  // Once a second is enough, however long a wheel turns.
  if (now - acted < 1_000) return;
  acted = now;
  pace.act(now);
  if (waiting.size > 0) flush(true);
}

/** How long the reader has done nothing, in milliseconds. */
export const idle = (): number => Date.now() - acted;

/** Milliseconds until records on the page are read again: nobody tells of them, for there are too many. */
export function recordsAgain(): number {
  return dataAgain(idle());
}

let source: EventSource | undefined;
let began = 0;
let wait = RETRY_FIRST;
let retry: ReturnType<typeof setTimeout> | undefined;

function close(): void {
  source?.close();
  source = undefined;
}

function open(): void {
  clearTimeout(retry);
  retry = undefined;
  if (session.get().kind !== "open") return;
  close();
  if (!can("event.watch").allowed) {
    retry = setTimeout(() => void ask(), ASKED);
    return;
  }
  const made = new EventSource("/api/v1/events");
  source = made;
  began = Date.now();
  made.onopen = () => {
    wait = RETRY_FIRST;
    say({ open: true });
  };
  made.addEventListener("heartbeat", () => say({ word: Date.now() }));
  for (const kind of KINDS) made.addEventListener(kind, ({ data }: MessageEvent<string>) => say({ event: JSON.parse(data) as Event }));
  made.onerror = () => {
    if (source !== made) return;
    close();
    void again();
  };
}

/** Whose role does not reach the events asks instead. */
async function ask(): Promise<void> {
  if (await resume()) {
    if (reach.get().since !== undefined) say({ open: true });
    void queries.invalidateQueries();
  } else say({ broken: Date.now() });
  open();
}

/** The stream broke: is it the session, or is nobody there? */
async function again(): Promise<void> {
  clearTimeout(retry);
  // Until it is planned: nothing else opens the stream meanwhile.
  retry = setTimeout(() => undefined, RETRY_LAST);
  if (!(await resume())) say({ broken: Date.now() });
  clearTimeout(retry);
  retry = undefined;
  if (session.get().kind !== "open") return;
  retry = setTimeout(open, wait * (0.75 + Math.random() / 2));
  wait = Math.min(wait * 2, RETRY_LAST);
}

/** Each second: a stream that is open and silent is told by nobody else. */
function look(): void {
  if (session.get().kind !== "open") return;
  const now = Date.now();
  if (!leading) {
    if (now - lastWord() > SILENT + LEAVE && !probing) void probe();
    return;
  }
  if (!source) return;
  const opened = source.readyState === EventSource.OPEN;
  const dead = opened ? link(Math.max(lastWord(), began), now) === "silent" : now - began > OPENING;
  if (!dead) return;
  close();
  say({ broken: now });
  wait = RETRY_FIRST;
  void again();
}

/** Tries at once: the reader pressed a key, or the network came back. */
export function tryNow(): void {
  wait = RETRY_FIRST;
  if (leading) open();
  else void probe();
}

/** Called once. The tab that holds the lock reads the stream for all. */
export function watch(): void {
  word();
  const lead = () => {
    leading = true;
    session.subscribe(() => {
      const open_ = session.get().kind === "open";
      if (open_ && !source && !retry) open();
      if (!open_) close();
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
  for (const kind of ["pointerdown", "keydown", "wheel"]) addEventListener(kind, act, { passive: true, capture: true });
  setInterval(look, 1_000);
  document.addEventListener("visibilitychange", look);
  // A request that failed while the stream seems to stand: the stream will tell; look sooner.
  reach.subscribe(() => {
    if (reach.get().since !== undefined && (!leading || source?.readyState === EventSource.OPEN)) void probe();
  });
}

let probing = false;

/** Asks until there is an answer, and reads everything anew then. */
async function probe(): Promise<void> {
  if (probing) return;
  probing = true;
  try {
    for (let pause = RETRY_FIRST; !(await resume()); pause = Math.min(pause * 2, RETRY_LAST)) {
      lost();
      await new Promise((go) => setTimeout(go, pause));
    }
    await queries.invalidateQueries();
  } finally {
    probing = false;
  }
}
