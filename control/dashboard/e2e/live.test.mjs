// Live means live: a silent control plane, a hung agent, an outage in mid-click, code that is missing,
// a page that breaks, a slow link, and what an open page costs while nobody touches it.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { METRICS } from "./scene.mjs";
import { BIN, login, talker, until, World } from "./world.mjs";

/** 400 kbit/s and 400 ms, as the browser emulates them. */
const SLOW = { offline: false, latency: 400, downloadThroughput: 50_000, uploadThroughput: 50_000 };

let world, page;
const faults = [];

before(async () => {
  world = await World.start();
  await world.device("pump-1", { role: "gateway" });
  await world.device("pump-2", { role: "gateway" });
  page = await world.open("/devices");
  faults.push(page.faults);
});
after(() => world?.end());

const nav = (on, name) => on.getByRole("navigation", { name: "Pages" }).getByRole("link", { name, exact: true });
const heading = (on, name) => on.getByRole("heading", { name, level: 1, exact: true });
const out = () => page.getByText("The control plane is out of reach");
/** Since then nothing was loaded anew: this would be gone. */
const mark = (on) => on.evaluate(() => (window.stillHere = true));
const unmoved = async (on) => assert.equal(await on.evaluate(() => window.stillHere), true, "the page was loaded anew");
const seconds = (began) => (Date.now() - began) / 1000;

/** A browser that has nothing yet, on the slow link; gives how long the login form took to stand. */
async function firstVisit() {
  const slow = await world.page();
  const cdp = await slow.context().newCDPSession(slow);
  await cdp.send("Network.enable");
  await cdp.send("Network.emulateNetworkConditions", SLOW);
  const began = Date.now();
  await slow.goto(world.url, { waitUntil: "commit" });
  await slow.getByRole("textbox", { name: "Access token" }).waitFor();
  await slow.getByRole("button", { name: "Log in" }).waitFor();
  console.log(`# the login form stood after ${seconds(began).toFixed(2)} s`);
  return { slow, began, took: seconds(began) };
}

test("the login form stands within 3 s at 400 kbit/s with 400 ms, and the way from there is said", async () => {
  // What the link takes it takes each time; what a busy machine takes it does not: the best of three.
  const visits = [];
  do visits.push(await firstVisit());
  while (visits.at(-1).took > 3 && visits.length < 3);
  const { slow, began, took } = visits.pop();
  for (const visit of visits) await visit.slow.context().close();
  assert.ok(took <= 3, `the login form stood after ${took} s at best`);
  await slow.getByRole("textbox", { name: "Access token" }).fill(world.token);
  await slow.getByRole("button", { name: "Log in" }).click();
  await slow.getByText(/^(Loading the dashboard|Logging in)/).waitFor();
  await heading(slow, "Fleet").waitFor();
  console.log(`# and the first page after ${seconds(began).toFixed(2)} s`);
  assert.deepEqual(slow.faults, []);
  await slow.context().close();
});

test("the head of the page says that it is live, and since when", async () => {
  await page.getByText(/^live · \d+ s ago$/).waitFor();
});

test("arrows in the search choose, and the page lives", async () => {
  await page.keyboard.press("Control+k");
  const search = page.getByRole("combobox", { name: /^Search/ });
  await search.waitFor();
  const chosen = () => page.getByRole("option", { selected: true }).innerText();
  const first = await chosen();
  for (const key of ["ArrowDown", "ArrowDown", "ArrowUp", "ArrowDown"]) await page.keyboard.press(key);
  assert.notEqual(await chosen(), first);
  await page.keyboard.press("Escape");
  await search.waitFor({ state: "detached" });
  await heading(page, "Devices").waitFor();
});

test("the search finds states and addresses", async () => {
  const found = async (text, name) => {
    await page.keyboard.press("Control+k");
    await page.getByRole("combobox", { name: /^Search/ }).fill(text);
    await page.getByRole("option", { name }).first().waitFor();
    await page.keyboard.press("Escape");
  };
  await found("offline", /offline/i);
  await found("failing", /fail/i);
  await found("127.0.0.1", /pump-1/);
});

test("a control plane that hangs with its connections open is told within 30 s, what is on the page stays, and it recovers by itself", async () => {
  const row = page.getByRole("row", { name: /pump-1/ });
  await row.waitFor();
  await mark(page);
  world.plane.kill("SIGSTOP");
  const stopped = Date.now();
  await out().waitFor({ timeout: 31_000 });
  const took = seconds(stopped);
  console.log(`# told after ${took.toFixed(1)} s`);
  assert.ok(took <= 30, `told after ${took} s`);
  // The last word came before the noticing: not later than the stop, give or take what was on its way.
  const said = Date.parse(await page.getByRole("status").filter({ hasText: "out of reach" }).locator("time").getAttribute("datetime"));
  assert.ok(said <= stopped + 1_500, `it says ${new Date(said).toISOString()}, and was stopped at ${new Date(stopped).toISOString()}`);
  await page.getByText(/^no answer · /).waitFor();
  assert.equal(await row.count(), 1, "the table was thrown away");
  world.plane.kill("SIGCONT");
  await out().waitFor({ state: "detached" });
  await page.getByText(/^live · /).waitFor();
  await world.must("PATCH", "/api/v1/devices/pump-1", { labels: { after: "freeze" } });
  await page.getByText("after=freeze").waitFor();
  await unmoved(page);
});

test("a click during an outage opens the page, and nothing is lost", async () => {
  await mark(page);
  await world.cut();
  await out().waitFor();
  for (const name of ["Workloads", "Activity", "Settings", "Enrolment"]) {
    await nav(page, name).click();
    await heading(page, name).waitFor();
  }
  await nav(page, "Devices").click();
  await page.getByRole("row", { name: /pump-1/ }).waitFor();
  await unmoved(page);
  await world.back();
  await out().waitFor({ state: "detached" });
  await unmoved(page);
});

test("code that is missing is waited for in its place, and comes by itself", async () => {
  const other = await world.page();
  faults.push(other.faults);
  const code = /\/assets\/page-workloads-[^/]*\.js$/;
  await other.context().route(code, (route) => route.abort());
  await other.goto(`${world.url}/devices`);
  await login(other, world.token);
  await heading(other, "Devices").waitFor();
  await mark(other);
  await nav(other, "Workloads").click();
  await other.getByText("This page could not be loaded yet, trying").waitFor();
  await nav(other, "Devices").waitFor();
  await other.context().unroute(code);
  await heading(other, "Workloads").waitFor();
  await unmoved(other);
  await other.context().close();
});

test("a page that breaks keeps the navigation, and the next page works", async () => {
  const other = await world.open("/devices");
  await other.route("**/api/v1/workloads?*", (route) => route.fulfill({ json: { items: [{}], metadata: { resourceVersion: 1 } } }));
  await nav(other, "Workloads").click();
  await other.getByRole("alert").getByText("could not be shown").waitFor();
  await nav(other, "Devices").click();
  await heading(other, "Devices").waitFor();
  await other.getByRole("row", { name: /pump-1/ }).waitFor();
  await other.context().close();
});

test("an agent that hangs while its connection is open is told to whoever looks, in the page, the API and the command line", async () => {
  await world.apply(talker("idler", "exec sleep 10000"));
  await until("idler runs", async () => (await world.must("GET", "/api/v1/devices/pump-1")).status.workloads.idler?.state === "running");
  const cli = async (...args) => (await promisify(execFile)(join(BIN, "holdfast"), args, { env: { ...process.env, HOLDFAST_URL: world.url, HOLDFAST_TOKEN: world.token, HOLDFAST_CA: world.ca } })).stdout;
  const table = await world.open("/devices");
  faults.push(table.faults);
  await page.goto(`${world.url}/devices/pump-1`);
  await heading(page, "pump-1").waitFor();
  await until("it is online", async () => (await world.must("GET", "/api/v1/devices/pump-1")).status.connection === "online");
  assert.equal((await world.must("GET", "/api/v1/devices/pump-1/ping")).answers, true);
  const agent = world.agents.get("pump-1");
  agent.kill("SIGSTOP");
  try {
    const stopped = Date.now();
    await page.getByText("does not answer").first().waitFor({ timeout: 60_000 });
    console.log(`# told after ${seconds(stopped).toFixed(1)} s`);
    const { status } = await world.must("GET", "/api/v1/devices/pump-1");
    assert.ok(status.problems.some(({ code }) => code === "not-answering"), JSON.stringify(status.problems));
    assert.match(await cli("describe", "device", "pump-1"), /does not answer/);
    // Tables do not take what is unknown for none of it, nor for progress.
    assert.match(await cli("get", "devices"), /^pump-1 .* \?\/1 .*not-answering/m);
    assert.match(await cli("get", "devices"), /^pump-2 .* 1\/1 /m);
    const row = table.getByRole("row", { name: /pump-1/ });
    await row.getByText("?/1", { exact: true }).waitFor();
    assert.equal(await row.locator(".hf-v-workloads .hf-unknown").count(), 1);
  } finally {
    agent.kill("SIGCONT");
  }
  await page.getByText("does not answer").first().waitFor({ state: "detached" });
  await table.getByRole("row", { name: /pump-1/ }).getByText("1/1", { exact: true }).waitFor();
  await table.context().close();
});

test("what is critical is counted in the tab's title", async () => {
  const other = await world.page();
  await other.context().route("**/api/v1/fleet", async (route) => {
    const answer = await route.fetch();
    const fleet = await answer.json();
    const item = { severity: "critical", kind: "lost", message: "away", count: 1, unknown: 0, acknowledged: 0, silenced: 0, devices: ["pump-9"], query: {}, since: new Date().toISOString() };
    // What is acknowledged has somebody who looks after it, what is silenced nobody need look at.
    await route.fulfill({ response: answer, json: { ...fleet, attention: [item, item, { ...item, severity: "warning" }, { ...item, acknowledged: 1 }, { ...item, silenced: 1 }] } });
  });
  await other.goto(`${world.url}/devices`);
  await login(other, world.token);
  await until("the tab counts", async () => (await other.title()) === "(2) Devices · Holdfast");
  await other.context().close();
});

test("an open page that nobody touches costs at most 1 MB an hour with two devices in a crash loop", async () => {
  await world.apply(talker("crasher", "echo dying; exit 1"), METRICS);
  const crashes = async (name) => (await world.must("GET", `/api/v1/devices/${name}`)).status.workloads.crasher?.restarts >= 1;
  for (const name of ["pump-1", "pump-2"]) await until(`${name} is in a crash loop`, () => crashes(name));
  const pages = { Fleet: "/", Devices: "/devices", Device: "/devices/pump-1", Streams: "/devices/pump-1?tab=streams&stream=device%2Fmetrics" };
  const watched = [];
  for (const [name, path] of Object.entries(pages)) watched.push({ name, ...(await watch(path)) });
  // Two minutes after the last touch, as they are; what follows for the rest of the hour, for which the
  // pace only slows further.
  const windows = [120, 90];
  const spent = {};
  for (const length of windows) {
    const from = watched.map(({ spent }) => spent());
    await new Promise((go) => setTimeout(go, length * 1000));
    watched.forEach(({ name, spent: now }, index) => (spent[name] ??= []).push(now() - from[index]));
  }
  for (const { name, close } of watched) {
    const [first, then] = spent[name];
    const hour = first + (then / windows[1]) * (3_600 - windows[0]);
    console.log(`# ${name}: ${(first / 1024).toFixed(1)} KiB in the first ${windows[0]} s, ${(then / 1024).toFixed(1)} KiB in the ${windows[1]} s after it: ${(hour / 1e6).toFixed(2)} MB an hour, extrapolated`);
    assert.ok(hour <= 1e6, `${name}: ${(hour / 1e6).toFixed(2)} MB an hour`);
    await close();
  }
});

/** Opens a page through a wire that counts what crosses it, TLS and both directions, from when the
 * page has been read and all code is there. */
async function watch(path) {
  let spent = 0;
  const plane = new URL(world.url);
  const wire = createServer((near) => {
    const far = connect(Number(plane.port), plane.hostname);
    for (const [from, to] of [[near, far], [far, near]]) {
      from.on("data", (piece) => {
        spent += piece.length;
        to.write(piece);
      });
      from.on("error", () => to.destroy());
      from.on("close", () => to.destroy());
    }
  });
  await new Promise((go) => wire.listen(0, "127.0.0.1", go));
  const on = await world.page();
  await on.goto(`https://127.0.0.1:${wire.address().port}${path}`);
  await login(on, world.token);
  await on.getByText(/^live · /).waitFor();
  // Quiet: for a second nothing but a few heads and heartbeats.
  await until("the page and all code are there", async () => {
    const before = spent;
    await new Promise((go) => setTimeout(go, 2_500));
    return spent - before < 8_000;
  });
  return { spent: () => spent, close: async () => { await on.context().close(); wire.close(); } };
}

test("nothing broke in the browser", () => assert.deepEqual(faults.flat(), []));
