// Writes `src/api/routes.ts`: the action of each route, as openapi.json has it.
import { readFileSync, writeFileSync } from "node:fs";

const METHODS = ["get", "put", "post", "patch", "delete"];

export function routes() {
  const { paths } = JSON.parse(readFileSync("openapi.json", "utf8"));
  const lines = Object.entries(paths).flatMap(([path, operations]) =>
    METHODS.filter((method) => operations[method]?.["x-holdfast-action"]).map((method) => `  "${method.toUpperCase()} ${path}": "${operations[method]["x-holdfast-action"]}",`),
  );
  return ["// The action of each route: written by scripts/routes.mjs from openapi.json (npm run client).", "export const ROUTES = {", ...lines, "} as const;", "", "/** What somebody may do or not, in the API's words. */", "export type Action = (typeof ROUTES)[keyof typeof ROUTES];", ""].join("\n");
}

if (process.argv[1] === import.meta.filename) writeFileSync("src/api/routes.ts", routes());
