// A link against its budget in words. Whether it fits is decided by the server alone.
import type { Tone } from "../ui/State";

export interface LinkClass {
  class: string;
  used: number;
  share?: number | null | undefined;
  forecast?: number | null | undefined;
  fits: string;
  waits?: string | null | undefined;
  waitsUntil?: string | null | undefined;
}

const FITS: Record<string, { tone: Tone; words: string }> = {
  "no-budget": { tone: "idle", words: "no budget" },
  fits: { tone: "good", words: "fits" },
  short: { tone: "warn", words: "will not last" },
  "used-up": { tone: "bad", words: "used up" },
  waits: { tone: "bad", words: "waits" },
};

export function fitsIn(fits: string): { tone: Tone; words: string } {
  return FITS[fits] ?? { tone: "idle", words: fits };
}

/** What waits, and how long, but for the time, which stands beside it. */
export function waiting({ waits }: Pick<LinkClass, "waits">): string {
  if (waits === "until") return "until";
  if (waits === "not-with-this-share") return "its share is too little for anything";
  return waits ? "goes on little by little, as more of its share is due" : "";
}
