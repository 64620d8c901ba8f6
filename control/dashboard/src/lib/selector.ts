// Label selectors: `role=gateway,site!=north,gpu,!retired,zone in (a,b)`, read as the server reads them, and
// completed from the labels that the fleet has.

export type Operator = "=" | "!=" | "exists" | "absent" | "in" | "notin";

export interface Condition {
  key: string;
  operator: Operator;
  /** Of `in` and `notin` several, with commas between them. */
  value: string;
}

export interface LabelKey {
  key: string;
  devices: number;
  values: { value: string; devices: number }[];
}

const KEY = /^([a-z0-9]([a-z0-9.-]*[a-z0-9])?\/)?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/;
const VALUE = /^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$/;

/** The parts between commas that stand in no parentheses. */
export function parts(text: string): string[] {
  return text.split(/,(?![^()]*\))/);
}

/** Reads one condition, as `core/selector.rs` does. */
export function condition(text: string): Condition {
  const trimmed = text.trim();
  const set = /^([^\s(]+)\s*\b(in|notin)\s*\(([^()]*)\)$/.exec(trimmed);
  if (set) {
    const [, key = "", operator = "", listed = ""] = set;
    return { key, operator: operator as Operator, value: listed.split(",").map((one) => one.trim()).join(",") };
  }
  const unequal = trimmed.indexOf("!=");
  if (unequal >= 0) return { key: trimmed.slice(0, unequal).trim(), operator: "!=", value: trimmed.slice(unequal + 2).trim() };
  const equal = trimmed.indexOf("=");
  if (equal >= 0) return { key: trimmed.slice(0, equal).trim(), operator: "=", value: trimmed.slice(equal + 1).replace(/^=/, "").trim() };
  if (trimmed.startsWith("!")) return { key: trimmed.slice(1).trim(), operator: "absent", value: "" };
  return { key: trimmed, operator: "exists", value: "" };
}

/** The conditions, or what is wrong, in words. */
export function parse(text: string): { conditions: Condition[]; fault?: string } {
  if (text.trim() === "") return { conditions: [] };
  const conditions: Condition[] = [];
  for (const part of parts(text)) {
    if (part.trim() === "") return { conditions, fault: "between two commas (or after the last) a condition is missing" };
    const one = condition(part);
    if (!KEY.test(one.key)) return { conditions, fault: `“${one.key}” cannot be a label's key` };
    const listed = one.operator === "in" || one.operator === "notin" ? one.value.split(",") : [one.value];
    if (listed.length > 1 && listed.includes("")) return { conditions, fault: "between two commas in parentheses a value is missing" };
    if (!listed.every((value) => VALUE.test(value))) return { conditions, fault: `“${one.value}” cannot be a label's value` };
    conditions.push(one);
  }
  return { conditions };
}

/** Writes one condition. */
export function write({ key, operator, value }: Condition): string {
  if (operator === "exists") return key;
  if (operator === "absent") return `!${key}`;
  if (operator === "in" || operator === "notin") return `${key} ${operator} (${value})`;
  return `${key}${operator}${value}`;
}

/** Adds a condition to a selector, once. */
export function and(text: string, more: string): string {
  const there = parts(text).map((part) => part.trim()).filter(Boolean);
  return there.includes(more) ? there.join(",") : [...there, more].join(",");
}

/** A way to go on from what is typed: the whole selector afterwards, and how many devices have it. */
export interface Suggestion {
  selector: string;
  shown: string;
  devices: number;
}

/** Suggestions for the last condition of `text`. */
export function suggest(text: string, labels: readonly LabelKey[], most = 12): Suggestion[] {
  const last = parts(text).at(-1) ?? "";
  const before = text.slice(0, text.length - last.length);
  const typed = last.trim();
  const found = /^(!?)([^=!]*)(!=|==?)?(.*)$/.exec(typed);
  if (!found) return [];
  const [, not = "", key = "", operator = "", value = ""] = found;
  if (operator) {
    const known = labels.find((label) => label.key === key.trim());
    const needle = value.trim().toLowerCase();
    return (known?.values ?? [])
      .filter((one) => one.value.toLowerCase().includes(needle) && one.value !== value.trim())
      .slice(0, most)
      .map((one) => ({ selector: `${before}${key.trim()}${operator}${one.value}`, shown: `${key.trim()}${operator}${one.value}`, devices: one.devices }));
  }
  const needle = key.trim().toLowerCase();
  return labels
    .filter((label) => label.key.toLowerCase().includes(needle))
    .slice(0, most)
    .map((label) =>
      not
        ? { selector: `${before}!${label.key}`, shown: `!${label.key}`, devices: label.devices }
        : { selector: `${before}${label.key}=`, shown: `${label.key}=…`, devices: label.devices },
    );
}

/** Reads `key=value, other=value` of a form into labels. */
export function labelPairs(text: string): { labels: Record<string, string>; fault?: string } {
  const labels: Record<string, string> = {};
  for (const part of text.split(/[,\s]+/).filter(Boolean)) {
    const cut = part.indexOf("=");
    if (cut <= 0) return { labels, fault: `“${part}”: write key=value` };
    const [key, value] = [part.slice(0, cut), part.slice(cut + 1)];
    if (!KEY.test(key)) return { labels, fault: `“${key}” cannot be a label's key` };
    if (!VALUE.test(value)) return { labels, fault: `“${value}” cannot be a label's value` };
    labels[key] = value;
  }
  return { labels };
}

/** Reads changes to labels: `key=value` sets, `key-` removes (as `holdfast label` has it). */
export function labelChanges(text: string): { labels: Record<string, string | null>; fault?: string } {
  const labels: Record<string, string | null> = {};
  const kept: string[] = [];
  for (const part of text.split(/[,\s]+/).filter(Boolean)) {
    if (part.endsWith("-") && !part.includes("=")) {
      const key = part.slice(0, -1);
      if (!KEY.test(key)) return { labels, fault: `“${key}” cannot be a label's key` };
      labels[key] = null;
    } else kept.push(part);
  }
  const pairs = labelPairs(kept.join(" "));
  return { labels: { ...labels, ...pairs.labels }, ...(pairs.fault ? { fault: pairs.fault } : {}) };
}
