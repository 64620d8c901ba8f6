// Who is logged in. The CSRF token lives here, in memory, and nowhere else.
import { store } from "./store";

export type Session =
  | { kind: "unknown" }
  | { kind: "none" }
  | { kind: "open"; operator: string; operatorName?: string | null; csrf: string; expiresAt: string }
  /** It was open, and the server does not know it any more: the pages stay, and ask anew. */
  | { kind: "ended"; operator: string; operatorName?: string | null };

export const session = store<Session>({ kind: "unknown" });
