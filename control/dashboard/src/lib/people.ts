// People in words: what a program calls itself, which access tokens are to be replaced, and the
// document of a role binding.
import { parse } from "./selector";

/** The program of a login in a few words: `Chrome on Linux`, `holdfast 0.9.1`. Empty: not known. */
export function program(agent: string): string {
  if (agent === "") return "";
  const first = /^([\w.-]+)\/(\d[\w.]*)/.exec(agent);
  if (!agent.startsWith("Mozilla/")) return first ? `${first[1]} ${first[2]}` : agent.slice(0, 40);
  const browser = /Edg\//.test(agent) ? "Edge" : /Firefox\//.test(agent) ? "Firefox" : /Chrom(e|ium)\//.test(agent) ? "Chrome" : /Safari\//.test(agent) ? "Safari" : "Browser";
  const system = /Android/.test(agent) ? "Android" : /iPhone|iPad/.test(agent) ? "iOS" : /Windows/.test(agent) ? "Windows" : /Mac OS X/.test(agent) ? "macOS" : /Linux|X11/.test(agent) ? "Linux" : "";
  return system ? `${browser} on ${system}` : browser;
}

interface Token {
  metadata: { name: string };
  name: string;
  expiresAt?: string | null;
}

/** Id of the token that is printed at the first start. */
const FIRST = "admin";

/** Why an access token is to be replaced; undefined: it need not be. */
export function replace({ metadata, name, expiresAt }: Token): string | undefined {
  if (metadata.name === FIRST) return "It was made at the first start, for setting up";
  if (name === "") return "It has no name: it was made before tokens had roles, and may do everything";
  return expiresAt ? undefined : "It does not end by itself";
}

/** Ends that are offered for a new access token: seconds, or none. */
export const LIVES = [
  { value: String(30 * 86_400), label: "30 days" },
  { value: String(90 * 86_400), label: "90 days" },
  { value: String(365 * 86_400), label: "1 year" },
  { value: "never", label: "Never" },
] as const;

/** How long a former secret may count beside the new one, in seconds. */
export const OVERLAPS = [
  { value: "0", label: "Not at all" },
  { value: "3600", label: "1 hour" },
  { value: "86400", label: "1 day" },
  { value: String(7 * 86_400), label: "7 days" },
  { value: String(30 * 86_400), label: "30 days" },
] as const;

export interface BindingForm {
  name: string;
  role: string;
  /** With commas or spaces between them. */
  subjects: string;
  everywhere: boolean;
  selector: string;
}

export const EMPTY: BindingForm = { name: "", role: "viewer", subjects: "", everywhere: true, selector: "" };

export const subjectsOf = (text: string): string[] => [...new Set(text.split(/[,\s]+/).filter(Boolean))];

type Selector = { matchLabels?: Record<string, string>; matchExpressions?: { key: string; operator: string; values?: string[] }[] };

/** A selector of a document in the words of the lists: `site=kiel,role in (pump,fan)`. */
export function selectorWords(devices: unknown): string {
  if (typeof devices !== "object" || devices === null) return "";
  const { matchLabels = {}, matchExpressions = [] } = devices as Selector;
  const exact = Object.entries(matchLabels).map(([key, value]) => `${key}=${value}`);
  const rest = matchExpressions.map(({ key, operator, values = [] }) =>
    operator === "Exists" ? key : operator === "DoesNotExist" ? `!${key}` : `${key} ${operator === "NotIn" ? "notin" : "in"} (${values.join(",")})`,
  );
  return [...exact, ...rest].join(",");
}

/** The other way; undefined: it is none. */
export function selectorOf(text: string): Selector | undefined {
  const { conditions, fault } = parse(text);
  if (fault !== undefined || conditions.length === 0) return undefined;
  const matchLabels: Record<string, string> = {};
  const matchExpressions: NonNullable<Selector["matchExpressions"]> = [];
  for (const { key, operator, value } of conditions) {
    if (operator === "=" && !(key in matchLabels)) matchLabels[key] = value;
    else if (operator === "exists" || operator === "absent") matchExpressions.push({ key, operator: operator === "exists" ? "Exists" : "DoesNotExist" });
    else matchExpressions.push({ key, operator: operator === "=" || operator === "in" ? "In" : "NotIn", values: value.split(",") });
  }
  return { ...(Object.keys(matchLabels).length > 0 ? { matchLabels } : {}), ...(matchExpressions.length > 0 ? { matchExpressions } : {}) };
}

/** The document of a form; `version` of the one that is changed. Undefined: something is missing. */
export function bindingOf({ name, role, subjects, everywhere, selector }: BindingForm, version?: number) {
  const devices = everywhere ? ("all" as const) : selectorOf(selector);
  const people = subjectsOf(subjects);
  if (name.trim() === "" || people.length === 0 || devices === undefined) return undefined;
  return {
    apiVersion: "holdfast/v1",
    kind: "RoleBinding",
    metadata: { name: name.trim(), ...(version === undefined ? {} : { resourceVersion: version }) },
    spec: { role, subjects: people, devices },
  };
}

/** The form of a document. */
export function formOf({ metadata, spec }: { metadata: { name: string }; spec?: unknown }): BindingForm {
  const { role = "viewer", subjects = [], devices = "all" } = (spec ?? {}) as { role?: string; subjects?: string[]; devices?: unknown };
  return { name: metadata.name, role, subjects: subjects.join(", "), everywhere: devices === "all", selector: selectorWords(devices) };
}
