// Workloads by state, as the fleet's counts count them: each is in one state, the worst of those it
// has on its devices.

/** In the order of how much they need a person. */
export const STATES = ["failing", "progressing", "unknown", "paused", "running", "done", "unplaced"] as const;
export type WorkloadState = (typeof STATES)[number];

export const WORDS: Record<WorkloadState, string> = { failing: "failing", progressing: "progressing", unknown: "unknown", paused: "paused", running: "running", done: "done", unplaced: "on no device" };

/** The states that an address asks for, and the words in it that are none. */
export function states(text: string | undefined): { wanted: WorkloadState[]; bad: string[] } {
  const words = (text ?? "").split(",").map((word) => word.trim()).filter(Boolean);
  const isState = (word: string): word is WorkloadState => (STATES as readonly string[]).includes(word);
  return { wanted: words.filter(isState), bad: words.filter((word) => !isState(word)) };
}

/** How many there are in each state. */
export function counts(all: readonly { status: { state: string } }[]): Record<string, number> {
  const found: Record<string, number> = {};
  for (const { status } of all) found[status.state] = (found[status.state] ?? 0) + 1;
  return found;
}

interface Ranked {
  metadata: { name: string };
  status: { state: string; failing: number };
}

/** The worst state first, in it what fails on the most devices, then names. */
export function worst(a: Ranked, b: Ranked): number {
  const rank = ({ status }: Ranked) => STATES.indexOf(status.state as WorkloadState);
  return rank(a) - rank(b) || b.status.failing - a.status.failing || (a.metadata.name < b.metadata.name ? -1 : 1);
}
