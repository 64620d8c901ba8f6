// Who is logged in. The CSRF token lives here, in memory, and nowhere else.
import { store } from "./store";

export interface Opened {
  operator: string;
  operatorName?: string | null;
  /** Local user, or NAME@PROVIDER; absent: it was begun with an access token. */
  user?: string | null;
  tenant?: string;
  /** Begun with the token of the first start, which is to be replaced. */
  setup?: boolean;
  /** Logins of the user need a code. */
  secondFactor?: boolean;
  csrf: string;
  expiresAt: string;
}

export type Session =
  | { kind: "unknown" }
  | { kind: "none" }
  | ({ kind: "open" } & Opened)
  /** It was open, and the server does not know it any more: the pages stay, and ask anew. */
  | { kind: "ended"; operator: string; operatorName?: string | null };

export const session = store<Session>({ kind: "unknown" });
