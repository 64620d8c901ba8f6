// What the pages show has no back-ticks and no commands: neither the pages' own texts nor those of the
// server and the agent, which pages show as they are. The command line has its hints apart.
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import ts from "typescript";
import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "../../../..");
/** Commands of the programs, and of a shell. */
const COMMAND = /\bholdfast (login|get|describe|apply|delete|device|token|access|image|volume|data|query|logs|serve|restore|backup|rollback|restart|history|status)\b|\bholdfast-agent (run|enroll|status)\b|\bchmod [ugo+0-9]/;

function files(folder, end) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? files(path, end) : end.test(entry.name) ? [path] : [];
  });
}

/** The texts of a source of the pages: those in JSX, and literals. */
function shown(path) {
  const source = ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.Latest, true, path.endsWith("x") ? ts.ScriptKind.TSX : ts.ScriptKind.TS);
  const texts = [];
  const visit = (node) => {
    if (ts.isJsxText(node) || ts.isStringLiteralLike(node) || ts.isTemplateHead(node) || ts.isTemplateMiddle(node) || ts.isTemplateTail(node)) texts.push(node.text);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return texts;
}

/** The line to paste on a device is a command, and so are those of images; a path into a record has back-ticks of its own. */
const OWN = /^(lib\/(enrol|image-lines)\.ts|lib\/(path|records|overlay|fields)\.ts)$/;

test("the pages' own texts", () => {
  const src = join(import.meta.dirname, "..");
  const wrong = files(src, /\.tsx?$/)
    .filter((path) => !/\.test\.ts$|schema\.d\.ts$/.test(path) && !OWN.test(relative(src, path)))
    .flatMap((path) => shown(path).filter((text) => text.includes("`") || COMMAND.test(text)).map((text) => `${relative(src, path)}: ${text.trim()}`));
  expect(wrong).toEqual([]);
}, 120_000);

/** Texts that no page shows: they go to a terminal, or describe the API. */
const TERMINAL = [
  /^control\/src\/(serve|folder|config|main)(\.rs|\/)/,
  /^control\/core\/src\/(enrolment|exposition)\.rs/, // whoever enrols a device stands at its terminal
  /^control\/core\/src\/values\//, // paths into records
  /^control\/core\/src\/oidc\/ticket\.rs/, // what is authenticated, which nobody reads
  /^control\/src\/adapters\/(parquet|authority)\.rs/,
  /^control\/src\/adapters\/http\/(pages|files|mod)\.rs/,
  /^control\/src\/adapters\/http\/registry\.rs/, // engines show it at their terminals
  /^agent\/src\/(cli|main|config|lib)(\.rs|\/)/,
  /^agent\/src\/driver\/(identity|start)\.rs/, // of its own status
  /^agent\/core\/src\/(bus|data\/reduce)\.rs/,
  /^agent\/src\/adapters\/(lock|folder|access|status)\.rs/,
];

/** Literals of a Rust source, without tests, comments, attributes and help for terminals. */
function literals(path) {
  const [text = ""] = readFileSync(path, "utf8").split("#[cfg(test)]");
  const code = text
    .split("\n")
    .filter((line) => !/^\s*\/\/|description = "/.test(line))
    .join("\n")
    .replaceAll(/hints\.push\([^;]*;/g, "")
    .replaceAll(/#\[[^\]]*\]/g, "");
  return [...code.matchAll(/"((?:[^"\\]|\\.)*)"/gs)].map(([, literal = ""]) => literal);
}

test("texts of the server and of the agent that pages show", () => {
  const wrong = ["control/src", "control/core/src", "control/api/src", "agent/src", "agent/core/src"]
    .flatMap((folder) => files(join(ROOT, folder), /\.rs$/))
    .concat(join(ROOT, "protocol/src/problem.rs"))
    .map((path) => [path, relative(ROOT, path)])
    .filter(([, name]) => !/tests?(\.rs|\/)/.test(name) && !TERMINAL.some((pattern) => pattern.test(name)))
    .flatMap(([path, name]) => literals(path).filter((text) => /`[^`]*`/.test(text) || COMMAND.test(text)).map((text) => `${name}: ${text}`))
    // Descriptions of fields in the documents' schema, for all editors: sentences, as no fault is.
    .filter((text) => !/^control\/core\/src\/(admission|kinds)\/\w+\.rs: [A-Z][^]*\.$/.test(text))
    // Hints for the command line stand in a field of their own.
    .filter((text) => !/^control\/core\/src\/explain\.rs: holdfast (token create|get devices -o wide)$/.test(text));
  expect(wrong).toEqual([]);
}, 120_000);
