// What whoever is logged in may do: asked once per session, and again when roles change or something
// is refused. A read that is not allowed is not sent: it would be refused, and audited as refused.
// See decision 0164.
import { queryOptions } from "@tanstack/react-query";
import { judge, verdictOf, type Rights, type Verdict } from "../lib/rights";
import { ask, client, reason, Refusal } from "./client";
import { queries } from "./query-client";
import { ROUTES, type Action } from "./routes";
import type { components } from "./schema";

export type WhoAmI = components["schemas"]["WhoAmI"];

/** A refusal makes the rights be read anew, at most once in this time, in milliseconds. */
const ANEW = 10_000;

const KEY = ["whoami"];

/** Roles with what gave them, and each action with its decision. Whoever has no role at all is not
 * even told so: then the refusal's words stand for every action. */
export const whoami = () =>
  queryOptions({
    queryKey: KEY,
    staleTime: Infinity,
    gcTime: Infinity,
    queryFn: async ({ signal }): Promise<WhoAmI> => {
      try {
        return await ask(client.GET("/api/v1/whoami", { signal }));
      } catch (error) {
        if (!(error instanceof Refusal) || error.status !== 403) throw error;
        const why = reason(error);
        return { caller: "", tenant: "", grants: [], actions: [...new Set(Object.values(ROUTES))].map((action) => ({ action, allowed: /^session\.(get|begin|end)$|^about\.(openapi|schema|health|ready)$|^ca\./.test(action), why })) };
      }
    },
  });

/** Whether an action is allowed on one device, where a role reaches some alone. */
export const canOn = (action: Action, device: string) =>
  queryOptions({
    queryKey: [...KEY, "can", action, device],
    staleTime: Infinity,
    queryFn: async ({ signal }) => verdictOf(await ask(client.GET("/api/v1/can", { signal, params: { query: { action, object: device } } }))),
  });

/** Whether an action is allowed, as far as it is known by now. */
export function can(action: Action): Verdict {
  return judge(queries.getQueryData<Rights>(KEY), action);
}

let anew = 0;

client.use({
  onRequest({ request, schemaPath }) {
    const action = request.method === "GET" ? (ROUTES as Readonly<Record<string, Action>>)[`GET ${schemaPath}`] : undefined;
    if (action === undefined || action === "auth.whoami" || action === "auth.can") return undefined;
    const { allowed, why } = can(action);
    return allowed ? undefined : Response.json({ error: { code: "refused", message: why } }, { status: 403 });
  },
  onResponse({ response, schemaPath }) {
    const now = Date.now();
    // The pages knew better than to ask, unless the roles are others by now. (One's own account
    // refuses a wrong password alike.)
    if (response.status !== 403 || schemaPath === "/api/v1/whoami" || schemaPath.startsWith("/api/v1/me/") || now - anew < ANEW) return;
    anew = now;
    void queries.invalidateQueries({ queryKey: KEY });
  },
});

// With other rights, what was refused may be read, and what was read may not be.
let before = "";
queries.getQueryCache().subscribe(({ type, query }) => {
  if (type !== "updated" || query.queryKey.length !== 1 || query.queryKey[0] !== KEY[0] || query.state.status !== "success") return;
  const { grants = [], caller = "" } = (query.state.data ?? {}) as Partial<WhoAmI>;
  const now = JSON.stringify([caller, grants]);
  if (now === before) return;
  const first = before === "";
  before = now;
  if (!first) void queries.invalidateQueries({ predicate: (one) => one.queryKey[0] !== KEY[0] || one.queryKey.length > 1 });
});
