// A log that is read from its device as it comes: asked for, followed over interruptions from where it
// ended, and with what is known of the device meanwhile.
import { Book } from "../lib/log/book";
import { Frames, Reader, type Line } from "../lib/log/lines";
import { follows, logAddress, parameters, type Range } from "../lib/log/range";
import { reason, Refusal, refusal } from "./client";
import { session } from "./state";
import { store } from "./store";

/** New lines are shown at most this often. */
const PACE = 100;
const RETRY_FIRST = 1_000;
const RETRY_LAST = 15_000;
/** A device has a word every 10 s while its log is followed; after this long without one it is late. */
export const LATE = 25_000;

/** How it stands; times in milliseconds since 1970. */
export type LogState =
  | { kind: "idle" }
  | { kind: "asked"; since: number }
  | { kind: "following"; word: number }
  | { kind: "whole" }
  | { kind: "interrupted"; why: string; again: number }
  | { kind: "refused"; why: string };

export class DeviceLog {
  readonly book = new Book();
  readonly state = store<LogState>({ kind: "idle" });
  /** The device's last word about this log, in milliseconds since 1970; 0: none yet. */
  word = 0;
  /** Who else wants the lines as they come; without any: it begins anew. */
  readonly taps = new Set<(lines?: Line[]) => void>();
  private readonly reader = new Reader();
  private stop: AbortController | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private wait = RETRY_FIRST;

  constructor(
    readonly device: string,
    readonly workload: string,
    readonly range: Range,
  ) {}

  /** Asks for it, from where it ended if it was read before. */
  start(): void {
    if (this.stop || this.state.get().kind === "whole") return;
    this.wait = RETRY_FIRST;
    clearTimeout(this.timer);
    void this.read();
  }

  /** Ends what is under way; what was read stays. */
  pause(): void {
    this.stop?.abort();
    this.stop = undefined;
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.state.get().kind !== "whole") this.state.set({ kind: "idle" });
  }

  private async read(): Promise<void> {
    const stop = new AbortController();
    this.stop = stop;
    this.state.set({ kind: "asked", since: Date.now() });
    const following = follows(this.range);
    try {
      const place = this.reader.place;
      // A part that does not grow is read anew as a whole.
      if (!following && this.book.total > 0) {
        this.book.clear();
        for (const tap of this.taps) tap();
      }
      const part = { framed: "true", timestamps: "true", ...parameters(this.range), ...(following ? { follow: "true" } : {}), ...(following && place !== undefined ? { after: place } : {}) };
      const answer = await fetch(logAddress(this.device, this.workload, part), { signal: stop.signal, credentials: "same-origin" });
      if (!answer.ok || !answer.body) throw refusal(answer.status, await answer.json().catch(() => undefined));
      // Of a part that does not grow, the answer begins with the device's first word.
      if (!following) this.word = Date.now();
      await this.take(answer.body, stop.signal);
      if (stop.signal.aborted) return;
      if (following) throw new Error("the answer ended");
      this.keep(this.reader.end());
      this.state.set({ kind: "whole" });
    } catch (error) {
      if (!stop.signal.aborted) this.failed(error, following);
    }
  }

  private failed(error: unknown, following: boolean): void {
    this.stop?.abort();
    this.stop = undefined;
    const status = error instanceof Refusal ? error.status : 0;
    if (status === 401) {
      const now = session.get();
      if (now.kind === "open") session.set({ kind: "ended", operator: now.operator });
    }
    if (!following || [400, 403, 404, 422].includes(status)) {
      this.state.set({ kind: "refused", why: reason(error) });
      return;
    }
    this.state.set({ kind: "interrupted", why: reason(error), again: Date.now() + this.wait });
    this.timer = setTimeout(() => void this.read(), this.wait);
    this.wait = Math.min(this.wait * 2, RETRY_LAST);
  }

  private keep(lines: Line[]): void {
    if (lines.length === 0) return;
    this.book.add(0, lines);
    for (const tap of this.taps) tap(lines);
  }

  private async take(body: ReadableStream<Uint8Array>, stop: AbortSignal): Promise<void> {
    const frames = new Frames();
    const from = body.getReader();
    let waiting: Line[] = [];
    let timer: ReturnType<typeof setTimeout> | undefined;
    const flush = () => {
      clearTimeout(timer);
      timer = undefined;
      this.keep(waiting);
      waiting = [];
    };
    try {
      for (;;) {
        const { done, value } = await from.read();
        if (done || stop.aborted) return;
        for (const piece of frames.push(value)) {
          const lines = this.reader.take(piece);
          for (const line of lines) waiting.push(line);
          if (!piece.head.silent) this.heard();
        }
        if (waiting.length > 0) timer ??= setTimeout(flush, PACE);
      }
    } finally {
      // What was read is not asked for again.
      flush();
    }
  }

  private heard(): void {
    this.word = Date.now();
    this.wait = RETRY_FIRST;
    const now = this.state.get();
    if (!follows(this.range) || (now.kind === "following" && this.word - now.word < 1_000)) return;
    this.state.set({ kind: "following", word: this.word });
  }
}
