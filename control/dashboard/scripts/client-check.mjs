// Is src/api/schema.d.ts what openapi-typescript makes of openapi.json today? With a program
// `holdfast` at hand (HOLDFAST_BIN_DIR) its own description is compared with openapi.json by the
// end-to-end tests; this needs no server.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { routes } from "./routes.mjs";

const folder = mkdtempSync(join(tmpdir(), "holdfast-client-"));
try {
  const fresh = join(folder, "schema.d.ts");
  execFileSync("npx", ["--no-install", "openapi-typescript", "openapi.json", "-o", fresh], { stdio: ["ignore", "ignore", "inherit"] });
  if (readFileSync(fresh, "utf8") !== readFileSync("src/api/schema.d.ts", "utf8")) {
    console.error("client: src/api/schema.d.ts is stale: run `npm run client` and commit it");
    process.exit(1);
  }
  if (routes() !== readFileSync("src/api/routes.ts", "utf8")) {
    console.error("client: src/api/routes.ts is stale: run `npm run client` and commit it");
    process.exit(1);
  }
  console.log("client: src/api/schema.d.ts is current");
} finally {
  rmSync(folder, { recursive: true });
}
