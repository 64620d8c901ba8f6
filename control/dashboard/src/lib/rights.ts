// What somebody may do, from the control plane's own answer about it, and the roles in words.
// See decision 0157.

export interface Decision {
  action: string;
  allowed: boolean;
  reach?: string | null;
  why: string;
}

export interface Rights {
  actions: readonly Decision[];
}

export interface Verdict {
  allowed: boolean;
  /** Devices that it reaches, as a selector; absent: all, or none are meant. */
  reach?: string;
  /** What gives it, or what is missing: a sentence. */
  why: string;
}

const MAY: Verdict = { allowed: true, why: "" };

const indexes = new WeakMap<Rights, ReadonlyMap<string, Decision>>();

function indexOf(rights: Rights): ReadonlyMap<string, Decision> {
  const known = indexes.get(rights);
  if (known) return known;
  const made = new Map(rights.actions.map((one) => [one.action, one]));
  indexes.set(rights, made);
  return made;
}

/** The server's sentence without the action's own word, which people do not know it by. */
export function sentence(why: string): string {
  const text = why.replace(/ \([a-z-]+\.[a-z-]+\)/, "");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Whether `action` is allowed. An action that the answer does not have needs no role; as long as
 * there is no answer the control plane decides when it is asked. */
export function judge(rights: Rights | undefined, action: string): Verdict {
  const found = rights && indexOf(rights).get(action);
  return found ? verdictOf(found) : MAY;
}

export function verdictOf({ allowed, reach, why }: Decision): Verdict {
  return { allowed, why: sentence(why), ...(reach ? { reach } : {}) };
}

/** The roles, in the order in which they allow more, then those for one purpose. */
export const ROLES = [
  { value: "viewer", label: "Viewer", text: "Reads devices, workloads, logs, streams and alarms: monitoring, a screen on the wall, readers by MQTT" },
  { value: "operator", label: "Operator", text: "Also changes workloads, documents, devices and enrolment tokens, and asks devices" },
  { value: "admin", label: "Admin", text: "Everything: also people, access tokens, secrets, backups and restores" },
  { value: "device-provisioner", label: "Device provisioner", text: "Makes enrolment tokens and admits devices, and sees little else" },
  { value: "auditor", label: "Auditor", text: "Reads and verifies the audit log, and who may do what" },
  { value: "metrics", label: "Metrics", text: "Reads figures for Prometheus, and nothing else" },
] as const;

export type Role = (typeof ROLES)[number]["value"];

export const roleOf = (role: string): string => ROLES.find(({ value }) => value === role)?.label ?? role;

/** A role of somebody in words: on all devices, or on some. */
export function granted({ role, selector }: { role: string; selector?: string | null }): string {
  return selector ? `${roleOf(role)} of ${selector}` : roleOf(role);
}

export interface ActionRow {
  action: string;
  about: string;
  roles: readonly string[];
}

/** Words for the parts of the API that actions belong to: `device.revoke` is of `device`. */
const AREAS: Readonly<Record<string, string>> = {
  about: "The control plane", access: "Access tokens", activity: "Activity and audit", audit: "Activity and audit", alarm: "Alarms", silence: "Alarms", notification: "Alarms",
  document: "Documents", policy: "Documents", artifact: "Artifacts", backup: "Backups", "master-key": "Backups", device: "Devices", event: "Fleet", fleet: "Fleet", stream: "Streams and questions", query: "Streams and questions",
  token: "Enrolment tokens", workload: "Workloads", image: "Images", volume: "Volumes of containers", user: "People", session: "People", me: "One's own account", auth: "One's own account", metrics: "Figures for Prometheus", tenant: "Tenants", secret: "Secrets",
};

/** Actions with who may do them, from the API's description: those that need a role, by their areas. */
export function actionsOf(openapi: unknown): ReadonlyMap<string, readonly ActionRow[]> {
  const paths = (openapi as { paths?: Record<string, Record<string, Record<string, unknown>>> } | undefined)?.paths ?? {};
  const areas = new Map<string, ActionRow[]>();
  for (const operations of Object.values(paths)) {
    for (const operation of Object.values(operations)) {
      const action = operation["x-holdfast-action"];
      const roles = operation["x-holdfast-roles"];
      if (typeof action !== "string" || !Array.isArray(roles) || roles.length === 0) continue;
      const area = AREAS[action.slice(0, action.indexOf("."))] ?? "Other";
      const about = typeof operation.summary === "string" ? operation.summary.replace(/\u0060/g, "").replace(/\.$/, "") : action;
      areas.set(area, [...(areas.get(area) ?? []), { action, about, roles: roles as string[] }]);
    }
  }
  return new Map([...areas].sort(([a], [b]) => (a < b ? -1 : 1)));
}
