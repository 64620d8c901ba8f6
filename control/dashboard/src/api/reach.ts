// Whether the control plane answers. Requests and the event stream tell; the banner reads.
import { store } from "./store";

export interface Reach {
  /** Out of reach since (milliseconds); undefined: it answers. */
  since?: number;
}

export const reach = store<Reach>({});

export function lost(): void {
  if (reach.get().since === undefined) reach.set({ since: Date.now() });
}

export function regained(): void {
  if (reach.get().since !== undefined) reach.set({});
}
