// Runs the end-to-end tests of the pages: several files at a time, then those that measure speed,
// one at a time. Each file has a world of its own, so the files do not touch each other.
//
// `node e2e/run.mjs [FILE…]`; `HOLDFAST_E2E_FILES=N` sets how many files run at a time (default: one
// more than there are cores, because a world mostly waits).
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, relative } from "node:path";

/** Files that hold the pages to a speed: they have the machine for themselves. */
const ALONE = ["scale.test.mjs"];

const asked = process.argv.slice(2);
const all = asked.length > 0 ? asked : readdirSync(import.meta.dirname).filter((name) => name.endsWith(".test.mjs")).map((name) => relative(process.cwd(), join(import.meta.dirname, name)));
const isAlone = (file) => ALONE.some((name) => file.endsWith(name));
const together = Number(process.env.HOLDFAST_E2E_FILES ?? availableParallelism() + 1);
if (!Number.isInteger(together) || together < 1) throw new Error("HOLDFAST_E2E_FILES must be a whole number from 1");

/** Runs these files, at most `most` at a time; true if none failed. */
function passed(files, most) {
  if (files.length === 0) return true;
  return spawnSync(process.execPath, ["--test", `--test-concurrency=${most}`, "--test-timeout=900000", ...files], { stdio: "inherit" }).status === 0;
}

const both = [passed(all.filter((file) => !isAlone(file)), together), passed(all.filter(isAlone), 1)];
process.exit(both.every(Boolean) ? 0 : 1);
