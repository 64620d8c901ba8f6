// Where in a YAML text a fault is: the server names paths such as `spec.resources.memory` or
// `documents[1] (Workload/x): spec.run.process.args[0]`; the editor wants positions.
import { isMap, isScalar, isSeq, parseAllDocuments, type Document, type Node, type Pair } from "yaml";

export interface Fault {
  path: string;
  message: string;
  /** The fault is the field itself, which is unknown, and not its value. */
  ofKey?: boolean;
}

export interface Mark extends Fault {
  from: number;
  to: number;
  severity: "error" | "warning";
}

type Step = string | number;

/** Reads a path. `document` says which of several documents it is about. */
export function steps(path: string): { document: number; steps: Step[] } {
  let rest = path;
  let document = 0;
  const prefix = /^documents\[(\d+)\] \([^)]*\): /.exec(rest);
  if (prefix) {
    document = Number(prefix[1]);
    rest = rest.slice(prefix[0].length);
  }
  if (rest === "document" || rest === "documents") return { document, steps: [] };
  const found: Step[] = [];
  const token = /\.?([A-Za-z0-9_-]+)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]/y;
  while (token.lastIndex < rest.length) {
    const match = token.exec(rest);
    if (!match) break;
    if (match[1] !== undefined) found.push(match[1]);
    else if (match[2] !== undefined) found.push(Number(match[2]));
    else if (match[3] !== undefined) found.push(unquote(match[3]));
  }
  return { document, steps: found };
}

function unquote(text: string): string {
  try {
    return JSON.parse(text) as string;
  } catch {
    return text.slice(1, -1);
  }
}

/** A path as the server writes it. */
export function pathOf(steps: readonly Step[]): string {
  return steps.reduce<string>((path, step) => {
    if (typeof step === "number") return `${path}[${step}]`;
    if (!/^[A-Za-z0-9_-]{1,60}$/.test(step)) return `${path}[${JSON.stringify(step)}]`;
    return path ? `${path}.${step}` : step;
  }, "");
}

/** The documents of a text, and their syntax errors. */
export function read(text: string): { documents: Document.Parsed[]; values: unknown[]; syntax: Mark[] } {
  const parsed = parseAllDocuments(text, { uniqueKeys: true });
  const documents = (Array.isArray(parsed) ? parsed : []).filter((document) => document.contents !== null);
  const syntax: Mark[] = [];
  for (const document of Array.isArray(parsed) ? parsed : []) {
    for (const error of [...document.errors, ...document.warnings]) {
      const [from, to] = error.pos;
      syntax.push({
        path: "",
        message: (error.message.split("\n")[0] ?? "not YAML").replace(/ at line \d+, column \d+:?$/, ""),
        from: Math.min(from, text.length),
        to: Math.min(Math.max(to, from + 1), text.length),
        severity: error.name === "YAMLParseError" ? "error" : "warning",
      });
    }
  }
  const values = syntax.some((mark) => mark.severity === "error")
    ? []
    : documents.map((document) => document.toJS({ maxAliasCount: 100 }) as unknown);
  return { documents, values, syntax };
}

/** Faults with their places in the text. */
export function locate(documents: readonly Document.Parsed[], faults: readonly Fault[], severity: Mark["severity"] = "error"): Mark[] {
  return faults.map((fault) => {
    const { document, steps: path } = steps(fault.path);
    const [from, to] = place(documents[document] ?? documents[0], path, fault.ofKey ?? false);
    return { ...fault, from, to, severity };
  });
}

function place(document: Document.Parsed | undefined, path: readonly Step[], wantsKey: boolean): [number, number] {
  let node: unknown = document?.contents;
  let best: [number, number] = firstLine(node as Node | null | undefined);
  for (const [index, step] of path.entries()) {
    const last = index === path.length - 1;
    if (isMap(node)) {
      const pair = (node.items as Pair[]).find((pair) => String(isScalar(pair.key) ? pair.key.value : pair.key) === String(step));
      if (!pair) return best;
      const key = range(pair.key);
      const value = range(pair.value);
      if (key) best = key;
      if (last && !wantsKey && value && value[1] > value[0] && isScalar(pair.value)) best = value;
      node = pair.value;
    } else if (isSeq(node)) {
      const item = node.items[Number(step)];
      if (item === undefined) return best;
      best = isScalar(item) ? (range(item) ?? best) : firstLine(item as Node);
      node = item;
    } else return best;
  }
  return best;
}

function range(node: unknown): [number, number] | undefined {
  const found = (node as { range?: [number, number, number] } | null | undefined)?.range;
  return found ? [found[0], found[1]] : undefined;
}

/** Of something large its first key alone is marked. */
function firstLine(node: Node | null | undefined): [number, number] {
  if (isMap(node)) return range((node.items as Pair[])[0]?.key) ?? [0, 0];
  return range(node) ?? [0, 0];
}
