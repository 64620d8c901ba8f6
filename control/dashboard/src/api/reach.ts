// Whether the control plane answers. Requests and the event stream tell; the banner and the sign in
// the head of the page read.
import { store } from "./store";

export interface Reach {
  /** Out of reach; the last word heard of it came then (milliseconds). Undefined: it answers. */
  since?: number;
}

export const reach = store<Reach>({});

/** When something was last heard of the control plane. 0: nothing yet. */
let heard = 0;

export const lastWord = (): number => heard;

/** Something came from the control plane. */
export function word(at = Date.now()): void {
  heard = Math.max(heard, at);
}

export function lost(): void {
  if (reach.get().since === undefined) reach.set({ since: heard || Date.now() });
}

export function regained(): void {
  word();
  if (reach.get().since !== undefined) reach.set({});
}
