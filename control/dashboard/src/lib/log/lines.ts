// A log in frames becomes lines: wherever it is cut, over interruptions, and with what is missing.
import { coloured, type Mark, type Pen } from "./ansi";

/** A line of a log, or a remark between two. */
export interface Line {
  text: string;
  /** Colours that the program gave it. */
  marks?: Mark[];
  /** When it was written, in seconds since 1970; 0: not known; none: not asked for. */
  time?: number;
  /** Something is missing here; `text` says what. */
  gap?: boolean;
}

/** A line without an end is cut there, in characters, so that it does not grow for ever. */
const ENDLESS = 64 * 1024;

/** Cuts a stream of text into lines. */
export class Lines {
  private rest = "";
  /** When the line that has not ended yet was begun. */
  private begun?: number;
  private pen: Pen = {};

  push(piece: string, time?: number): Line[] {
    if (this.rest === "") this.begun = time;
    const parts = (this.rest + piece).split("\n");
    this.rest = parts.pop() ?? "";
    if (this.rest.length > ENDLESS) {
      parts.push(this.rest);
      this.rest = "";
    }
    const lines = parts.map((text, index) => this.line(text, index === 0 ? this.begun : time));
    if (parts.length > 0) this.begun = time;
    return lines;
  }

  end(): Line[] {
    const last = this.rest;
    this.rest = "";
    const lines = last === "" ? [] : [this.line(last, this.begun)];
    this.pen = {};
    return lines;
  }

  private line(raw: string, time: number | undefined): Line {
    const { text, marks, pen } = coloured(raw, this.pen);
    this.pen = pen;
    return { text, ...(marks.length > 0 ? { marks } : {}), ...(time === undefined ? {} : { time }) };
  }
}

/** What is said of a piece of a log before its bytes. */
export interface Head {
  log: number;
  offset: number;
  length: number;
  lost?: number;
  anew?: boolean;
  times?: [length: number, time: number][];
  /** Seconds for which the device has not answered: no word of its own. */
  silent?: number;
  error?: string;
}

export interface Piece {
  head: Head;
  body: Uint8Array;
}

/** Cuts a framed answer into its pieces: a line of JSON, and so many bytes as it says. */
export class Frames {
  private rest = new Uint8Array();

  push(bytes: Uint8Array): Piece[] {
    const all = new Uint8Array(this.rest.length + bytes.length);
    all.set(this.rest);
    all.set(bytes, this.rest.length);
    const pieces = [];
    let at = 0;
    for (;;) {
      const end = all.indexOf(10, at);
      if (end < 0) break;
      const head = JSON.parse(new TextDecoder().decode(all.subarray(at, end))) as Head;
      const next = end + 1 + (head.length ?? 0);
      if (next > all.length) break;
      pieces.push({ head, body: all.slice(end + 1, next) });
      at = next;
    }
    this.rest = all.slice(at);
    return pieces;
  }
}

/** Makes lines of the pieces of a log, over interruptions. */
export class Reader {
  /** Where it is gone on with: number of the log and offset. */
  place: string | undefined;
  private readonly lines = new Lines();
  private text = new TextDecoder();

  take({ head, body }: Piece): Line[] {
    if (head.error !== undefined) throw new Error(head.error);
    const found: Line[] = [];
    const gap = missing(head);
    if (gap !== undefined) found.push(...this.end(), { text: gap, gap: true });
    let at = 0;
    for (const [length, time] of [...(head.times ?? []), [body.length, undefined] as const]) {
      const part = body.subarray(at, at + length);
      if (part.length > 0) found.push(...this.lines.push(this.text.decode(part, { stream: true }), time));
      at += length;
    }
    if (head.log) this.place = `${head.log}-${head.offset + head.length}`;
    return found;
  }

  /** The last line, though it has no end. */
  end(): Line[] {
    this.text = new TextDecoder();
    return this.lines.end();
  }
}

/** What is missing before a piece, in words. */
function missing({ lost, anew }: Head): string | undefined {
  if (anew) return "another log begins here: the workload was deleted meanwhile, or the device lost its place";
  if (lost === 1) return "1 byte of the log was cut before it was read";
  return lost ? `${lost.toLocaleString("en")} bytes of the log were cut before they were read` : undefined;
}
