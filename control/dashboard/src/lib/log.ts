// Log text as lines for the page: bounded, without terminal codes, never as markup.

/** Lines that a page keeps. */
export const KEPT = 5_000;
/** Longest line that is shown whole. */
const LONGEST = 4_000;

const ANSI = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\-_])/g;
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** One line as plain text: colours go, other control characters become visible. */
export function plain(line: string): string {
  const text = line.replace(/\r$/, "").replace(ANSI, "").replace(CONTROL, "\ufffd");
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}… (${text.length} characters)` : text;
}

/** Cuts a stream of text into lines. */
export class Lines {
  private rest = "";

  push(piece: string): string[] {
    const parts = (this.rest + piece).split("\n");
    this.rest = parts.pop() ?? "";
    // A line that never ends is cut, so that it does not grow for ever.
    if (this.rest.length > 64 * 1024) {
      parts.push(this.rest);
      this.rest = "";
    }
    return parts.map(plain);
  }

  end(): string[] {
    const last = this.rest;
    this.rest = "";
    return last === "" ? [] : [plain(last)];
  }
}
