// The part of JSON Schema that the API's schema uses: what may stand at a path (for completion),
// and what is wrong with a value (before the server is asked).
import { pathOf, type Fault } from "./faults";

export interface Schema {
  $ref?: string;
  $defs?: Record<string, Schema>;
  type?: string;
  description?: string;
  properties?: Record<string, Schema>;
  additionalProperties?: boolean | Schema;
  required?: string[];
  items?: Schema;
  enum?: unknown[];
  const?: unknown;
  pattern?: string;
  minimum?: number;
  maximum?: number;
  minItems?: number;
  minProperties?: number;
  oneOf?: Schema[];
  anyOf?: Schema[];
}

export function resolve(root: Schema, schema: Schema | undefined): Schema {
  let found = schema ?? {};
  for (let depth = 0; found.$ref && depth < 16; depth++) {
    const { $ref, ...own } = found;
    found = { ...(root.$defs?.[$ref.replace("#/$defs/", "")] ?? {}), ...own };
  }
  return found;
}

/** Of a schema for documents of several kinds the one for `kind`; for none or one that it does not
 * know, what all of them have, with every kind to choose from. */
export function forKind(root: Schema, kind: unknown): Schema {
  const own = root.$defs ? { $defs: root.$defs } : {};
  const documents = (root.anyOf ?? []).map((one) => resolve(root, one)).filter((one) => one.properties?.kind);
  if (documents.length === 0) return root;
  const kinds = (one: Schema) => values({ ...one, ...own }, ["kind"]).map((choice) => choice.label);
  const found = documents.find((one) => kinds(one).includes(String(kind)));
  if (found) return { ...found, ...own };
  const shared = Object.entries(documents[0]?.properties ?? {}).filter(([key]) => documents.every((one) => one.properties?.[key]));
  const properties = Object.fromEntries(shared.map(([key, below]): [string, Schema] => [key, documents.every((one) => JSON.stringify(one.properties?.[key]) === JSON.stringify(below)) ? below : {}]));
  return { ...own, type: "object", properties: { ...properties, kind: { enum: documents.flatMap(kinds) } }, required: ["kind"] };
}

/** The schema at a path. */
export function at(root: Schema, path: readonly (string | number)[]): Schema {
  let schema = resolve(root, root);
  for (const step of path) {
    if (typeof step === "number") schema = resolve(root, schema.items);
    else {
      const below = schema.properties?.[step];
      schema = resolve(root, below ?? (typeof schema.additionalProperties === "object" ? schema.additionalProperties : {}));
    }
  }
  return schema;
}

export interface Choice {
  label: string;
  detail: string;
  info: string;
}

/** Keys that may stand in the object at a path. */
export function keys(root: Schema, path: readonly (string | number)[]): Choice[] {
  const schema = at(root, path);
  const required = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {}).map(([key, below]) => {
    const known = resolve(root, below);
    return { label: key, detail: `${kind(known)}${required.has(key) ? ", required" : ""}`, info: known.description ?? "" };
  });
}

/** Values that may stand at a path, where they can be listed. */
export function values(root: Schema, path: readonly (string | number)[]): Choice[] {
  const of = (schema: Schema): Choice[] => [
    ...(schema.enum ?? (schema.const === undefined ? [] : [schema.const])).map((value) => ({ label: String(value), detail: "", info: schema.description ?? "" })),
    ...[...(schema.oneOf ?? []), ...(schema.anyOf ?? [])].flatMap((one) => of(resolve(root, one))),
  ];
  const schema = at(root, path);
  // What is said of the whole is not said of each.
  return of(schema.enum ? { ...schema, description: "" } : schema);
}

export function kind(schema: Schema): string {
  if (schema.enum ?? schema.oneOf?.every((one) => one.const !== undefined)) return "choice";
  if (schema.anyOf) return schema.anyOf.map((one) => one.type ?? "").filter(Boolean).join(" or ");
  return schema.type === "array" ? "list" : (schema.type ?? "");
}

/** True where a block goes on below the key. */
export function opens(schema: Schema): "object" | "list" | undefined {
  if (schema.type === "object") return "object";
  if (schema.type === "array") return "list";
  return undefined;
}

/** What is wrong with a value. The server has the last word; this is for while one types. */
export function check(root: Schema, value: unknown, most = 50): Fault[] {
  const faults: Fault[] = [];
  root = forKind(root, (value as { kind?: unknown } | null | undefined)?.kind);
  walk(resolve(root, root), value, []);
  return faults.slice(0, most);

  function add(path: readonly (string | number)[], message: string, ofKey = false) {
    faults.push({ path: pathOf(path) || "document", message, ...(ofKey && { ofKey }) });
  }

  function walk(schema: Schema, value: unknown, path: (string | number)[]) {
    const choices = [...(schema.enum ?? []), ...(schema.oneOf ?? []).filter((one) => one.const !== undefined).map((one) => one.const)];
    if (choices.length > 0) {
      if (!choices.includes(value)) add(path, `${show(value)}: expected ${choices.map(String).join(", ")}`);
      return;
    }
    if (schema.anyOf) {
      if (!schema.anyOf.some((one) => fits(resolve(root, one), value))) add(path, `${show(value)}: expected ${kind(schema)}${schema.description ? `: ${schema.description}` : ""}`);
      return;
    }
    if (schema.type && !isType(schema.type, value)) {
      add(path, `${show(value)}: expected ${schema.type === "array" ? "a list" : schema.type === "object" ? "an object" : schema.type === "string" ? "text" : schema.type}`);
      return;
    }
    if (typeof value === "string" && schema.pattern && !new RegExp(schema.pattern).test(value)) add(path, `${show(value)}: does not have the form of ${schema.description ?? schema.pattern}`);
    if (typeof value === "number") {
      if (schema.minimum !== undefined && value < schema.minimum) add(path, `${value}: at least ${schema.minimum}`);
      if (schema.maximum !== undefined && value > schema.maximum) add(path, `${value}: at most ${schema.maximum}`);
    }
    if (Array.isArray(value)) {
      if (schema.minItems && value.length < schema.minItems) add(path, "the list is too short");
      value.forEach((item, index) => walk(resolve(root, schema.items), item, [...path, index]));
    } else if (typeof value === "object" && value !== null) object(schema, value as Record<string, unknown>, path);
  }

  function object(schema: Schema, value: Record<string, unknown>, path: (string | number)[]) {
    for (const key of schema.required ?? []) if (!Object.hasOwn(value, key)) add([...path, key], "is missing");
    if (schema.minProperties && Object.keys(value).length < schema.minProperties) add(path, "is empty");
    const sets = (schema.oneOf ?? []).map((one) => one.required ?? []).filter((set) => set.length > 0);
    if (sets.length > 0) {
      const there = sets.filter((set) => set.every((key) => Object.hasOwn(value, key)));
      if (there.length !== 1) add(path, `exactly one of ${sets.flat().join(", ")} is wanted`);
    }
    for (const [key, below] of Object.entries(value)) {
      const known = schema.properties?.[key];
      if (known) walk(resolve(root, known), below, [...path, key]);
      else if (schema.additionalProperties === false) add([...path, key], "unknown field", true);
      else if (typeof schema.additionalProperties === "object") walk(resolve(root, schema.additionalProperties), below, [...path, key]);
    }
  }

  function fits(schema: Schema, value: unknown): boolean {
    if (schema.type && !isType(schema.type, value)) return false;
    return !(typeof value === "string" && schema.pattern && !new RegExp(schema.pattern).test(value));
  }
}

function isType(type: string, value: unknown): boolean {
  if (type === "array") return Array.isArray(value);
  if (type === "integer") return Number.isInteger(value);
  if (type === "object") return typeof value === "object" && value !== null && !Array.isArray(value);
  if (type === "null") return value === null;
  return typeof value === type;
}

function show(value: unknown): string {
  const text = value === undefined ? "nothing" : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
