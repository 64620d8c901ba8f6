// What was typed and not applied: kept while the pages are open, so that no click loses it.
import type { Json } from "../lib/merge";

export interface Base {
  /** Of its document; absent: Workload. */
  kind?: string;
  name: string;
  /** `kind` of the document; absent: a workload's. */
  kind?: "Workload" | "Stream" | "LinkBudget";
  version: number;
  document: Json;
}

export interface Draft {
  text: string;
  base: Base | undefined;
}

const drafts = new Map<string, Draft>();

export const draftOf = (key: string) => drafts.get(key);

export function keep(key: string, draft: Draft | undefined): void {
  if (draft) drafts.set(key, draft);
  else drafts.delete(key);
}

addEventListener("beforeunload", (event) => {
  if (drafts.size > 0) event.preventDefault();
});
