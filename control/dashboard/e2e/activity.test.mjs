// Who did what, and what devices did beside it: filters, names, differences, files; and the timeline
// of a device that is in a crash loop, goes away and gets a new revision.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { BIN, login, talker, until, World } from "./world.mjs";

let world, page, duty;

/** The command line, as the admin. */
function holdfast(...words) {
  const env = { ...process.env, HOLDFAST_URL: world.url, HOLDFAST_TOKEN: world.token, HOLDFAST_CA: world.ca, NO_COLOR: "1" };
  return execFileSync(join(BIN, "holdfast"), words, { env, encoding: "utf8" });
}

before(async () => {
  world = await World.start();
  duty = await world.must("POST", "/api/v1/access", { name: "night duty", role: "operator" });
  await world.device("pump-1", { role: "gateway" });
  const loop = talker("loop", "exit 3");
  loop.spec.restart = { policy: "always", backoff: { initial: "100ms", max: "200ms" } };
  await world.apply(talker("hello", "sleep 1000"), loop);
  await until("the loop is counted", async () => (await events("workload=loop&kind=restart")).some(({ count }) => count > 3), 90_000);
  page = await world.page();
  await page.goto(world.url);
  await login(page, duty.token);
});
after(() => world?.end());

async function events(query) {
  return (await world.must("GET", `/api/v1/devices/pump-1/history?${query}`)).items;
}

const rows = () => page.getByRole("row");

test("a crash loop is counted, and what else happened still stands in the timeline", async () => {
  const told = await events("limit=500");
  assert.ok(told.length < 60, `${told.length} events`);
  assert.ok(told.some(({ event }) => event === "connected"));
  assert.ok(told.some(({ message }) => /^hello: .*running/.test(message)), JSON.stringify(told.map(({ message }) => message)));
  await page.goto(`${world.url}/devices/pump-1?tab=history`);
  await page.getByRole("row", { name: /loop restarted \d+ times, last/ }).first().waitFor();
  await page.getByRole("row", { name: /connected from 127\.0\.0\.1/ }).waitFor();
});

test("a timeline is found by kind and workload, and the address keeps it", async () => {
  await page.getByRole("combobox", { name: "Kind" }).click();
  await page.getByRole("option", { name: "Connections" }).click();
  await until("connections alone are there", async () => (await rows().count()) === 2);
  assert.match(page.url(), /kind=connection/);
  await page.goto(`${world.url}/devices/pump-1?tab=history`);
  await page.getByRole("combobox", { name: "Workload" }).click();
  await page.getByRole("option", { name: "hello" }).click();
  await page.getByRole("row", { name: /hello revision 1/ }).waitFor();
  // The rows of both workloads stand there until the chosen ones have come.
  await until("those of the other are gone", async () => (await page.getByRole("row", { name: /loop/ }).count()) === 0);
});

test("a device that goes away and comes back with a new revision says all of it", async () => {
  await page.goto(`${world.url}/devices/pump-1?tab=history&workload=hello`);
  await page.getByRole("row", { name: /hello revision 1/ }).waitFor();
  await world.stop("pump-1");
  await until("it is away", async () => (await world.must("GET", "/api/v1/devices/pump-1")).status.connection === "offline");
  const changed = talker("hello", "sleep 2000");
  const gone = Math.floor(Date.now() / 1000);
  await until("another second has begun", () => Math.floor(Date.now() / 1000) > gone);
  const by = await world.ask("POST", "/api/v1/apply", { documents: [changed] }, { authorization: `Bearer ${duty.token}` });
  assert.equal(by.status, 200, JSON.stringify(by.body));
  // Times are of whole seconds: the next one tells what follows from what was before.
  const second = () => Math.floor(Date.now() / 1000);
  const applied = second();
  await until("another second has begun", () => second() > applied);
  world.run("pump-1");
  const row = page.getByRole("row", { name: /hello revision 1 → 2/ });
  await row.waitFor();
  await row.getByRole("link", { name: "Difference" }).click();
  await page.getByLabel("Difference from revision 1 to revision 2").getByText("sleep 2000").waitFor();
  const told = (await events("kind=connection")).map(({ event }) => event);
  assert.deepEqual(told, ["connected", "disconnected", "connected"]);
  // The same, as the command line has it.
  const text = holdfast("timeline", "pump-1", "--kind", "connection");
  assert.match(text, /connection +connected from 127\.0\.0\.1\n.*disconnected.*\n.*connected from/);
  assert.match(holdfast("describe", "device", "pump-1"), /Lately\n/);
});

test("a phase is since its event", async () => {
  const { status } = await world.must("GET", "/api/v1/devices/pump-1");
  const [last] = await events("workload=hello&kind=phase,restart,revision&limit=1");
  assert.equal(status.workloads.hello.phaseSince, last.until ?? last.at);
});

test("activity shows changes with names and not logins, and what devices did when asked", async () => {
  await page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name: "Activity" }).click();
  await page.getByRole("row", { name: /night duty applied workload hello/ }).waitFor();
  const text = await page.locator("table").innerText();
  assert.equal(text.includes("logged in"), false, "logins are shown unasked");
  assert.match(text, /access token night duty/, "the token that was made is named");
  await page.getByRole("checkbox", { name: "Logins" }).check();
  await page.getByRole("row", { name: /night duty logged in/ }).waitFor();
  await page.getByRole("checkbox", { name: "Logins" }).uncheck();
  await page.getByRole("checkbox", { name: "Devices" }).check();
  await page.getByRole("row", { name: /pump-1 disconnected/ }).waitFor();
  // Beside it, in the order of time: the apply stands between the device's going and its coming.
  const all = (await page.locator("tbody tr").allInnerTexts()).map((row) => row.replaceAll(/\s+/g, " "));
  const place = (pattern) => all.findIndex((row) => pattern.test(row));
  const [back, applied, gone] = [place(/pump-1 connected/), place(/night duty applied/), place(/pump-1 disconnected/)];
  assert.ok(back >= 0 && back < applied && applied < gone, JSON.stringify({ back, applied, gone, all }));
});

test("filters by who, object, text and time; each stands in the address", async () => {
  await page.goto(`${world.url}/activity`);
  await page.getByRole("searchbox", { name: /^Who/ }).fill("NIGHT");
  await until("only theirs is there", async () => (await rows().count()) === 2);
  assert.match(page.url(), /who=NIGHT/);
  await page.getByRole("searchbox", { name: /^Who/ }).fill("");
  await page.getByRole("searchbox", { name: /^Object/ }).fill("workload/loop");
  await page.getByRole("row", { name: /admin applied workload loop/ }).waitFor();
  await until("only of that workload", async () => (await rows().count()) === 2);
  await page.getByRole("searchbox", { name: /^Object/ }).fill("");
  await page.getByRole("searchbox", { name: "Find in everything" }).fill("no such thing");
  await page.getByText("Nothing of that was found").waitFor();
  await page.getByRole("button", { name: "Take all filters away" }).click();
  await page.getByRole("row", { name: /night duty applied/ }).waitFor();
  await page.getByRole("combobox", { name: "Time" }).click();
  await page.getByRole("option", { name: "From … to …" }).click();
  await page.getByRole("textbox", { name: "To", exact: true }).or(page.getByLabel("To", { exact: true })).fill("2020-01-01T00:00");
  await page.getByText("Nothing of that was found").waitFor();
});

test("the difference of an apply is a link away", async () => {
  await page.goto(`${world.url}/activity?object=workload/hello`);
  const row = page.getByRole("row", { name: /revision 2/ });
  await row.getByRole("link", { name: "Difference" }).click();
  await page.getByLabel("Difference from revision 1 to revision 2").getByText("sleep 1000").waitFor();
});

test("a stream policy and a link budget are a link away, and the first page has names and words", async () => {
  const kinds = { role: "gateway" };
  const documents = [
    { apiVersion: "holdfast/v1", kind: "Stream", metadata: { name: "pumps" }, spec: { devices: { matchLabels: kinds }, streams: ["pump/*"] } },
    { apiVersion: "holdfast/v1", kind: "LinkBudget", metadata: { name: "satellite" }, spec: { devices: { matchLabels: kinds }, per: "day", bytes: "900Mi", shares: { data: "60%" } } },
  ];
  const applied = await world.ask("POST", "/api/v1/apply", { documents }, { authorization: `Bearer ${duty.token}` });
  assert.equal(applied.status, 200, JSON.stringify(applied.body));
  await page.goto(`${world.url}/activity?action=stream,linkbudget`);
  await page.getByRole("row", { name: /night duty applied stream policy pumps/ }).waitFor();
  await page.getByRole("row", { name: /applied link budget satellite/ }).getByRole("link", { name: "satellite" }).click();
  await page.getByRole("heading", { name: "satellite" }).waitFor();
  await page.goto(world.url);
  const lately = page.getByRole("listitem").filter({ hasText: "night duty applied stream policy pumps" });
  await lately.getByRole("link", { name: "pumps" }).waitFor();
  const text = await page.locator("main").innerText();
  assert.equal(text.includes(duty.id) || text.includes("workload.apply"), false, text);
});

test("a token that is gone is still named", async () => {
  await world.must("DELETE", `/api/v1/access/${duty.id}`);
  const { items } = await world.must("GET", "/api/v1/activity?action=workload.apply&who=night");
  assert.deepEqual(items.map(({ by, byName }) => [by, byName]), [[duty.id, "night duty"]]);
  page = await world.open("/activity");
  await page.getByRole("row", { name: /night duty applied workload hello/ }).waitFor();
  await page.getByRole("row", { name: /admin deleted access token night duty/ }).waitFor();
});

test("what is filtered goes out as a file", async () => {
  await page.goto(`${world.url}/activity?object=workload/hello`);
  await page.getByRole("row", { name: /night duty/ }).waitFor();
  const saved = async (name) => {
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name, exact: true }).click()]);
    return [download.suggestedFilename(), readFileSync(await download.path(), "utf8")];
  };
  const [csvName, csv] = await saved("CSV");
  assert.equal(csvName, "activity.csv");
  const lines = csv.trim().split("\r\n");
  assert.equal(lines[0], "time,until,count,category,who,who_name,action,object_kind,object,revision,text,from,result,request");
  assert.equal(lines.length, 3);
  assert.match(lines[1], new RegExp(`^\\S+Z,,1,change,${duty.id},night duty,workload\\.apply,workload,hello,2,"changed, revision 2, for 1 devices?",127\\.0\\.0\\.1,done,[0-9a-f-]+$`));
  const [, ndjson] = await saved("NDJSON");
  assert.deepEqual(ndjson.trim().split("\n").map((line) => JSON.parse(line).revision), [2, 1]);
  assert.equal(holdfast("activity", "--object", "workload/hello", "-o", "csv"), csv);
  assert.match(holdfast("activity", "--since", "1h", "--category", "change,device"), /night duty +workload\.apply +workload\/hello/);
});

test("times and words stand on one line, at any width", async () => {
  for (const [width, path] of [1440, 360].flatMap((width) => ["/activity?show=change,login,device", "/devices/pump-1?tab=history"].map((path) => [width, path]))) {
    const narrow = await world.open(path, { viewport: { width, height: 800 } });
    await narrow.getByText("disconnected").first().waitFor();
    const wide = await narrow.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(wide, 0, `${path} at ${width} px: the page scrolls sideways`);
    const heights = await narrow.locator("tbody time").evaluateAll((all) => all.map((one) => one.getClientRects().length));
    assert.ok(heights.every((lines) => lines === 1), `${path} at ${width} px: a time is broken`);
    await narrow.context().close();
  }
});

test("who is logged in is named, not numbered", async () => {
  const { token } = await world.must("POST", "/api/v1/access", { name: "wall screen" });
  const other = await world.page();
  await other.goto(world.url);
  await login(other, token);
  await other.getByRole("button", { name: "Logged in as wall screen" }).waitFor();
  await other.reload();
  await other.getByRole("button", { name: "Logged in as wall screen" }).waitFor();
  await other.context().close();
});

test("nothing broke in the browser", () => assert.deepEqual(page.faults, []));

test("the audit log is verified by a button, with the devices as witnesses, and only by whoever may", async () => {
  const day = await world.must("POST", "/api/v1/access", { name: "day duty", role: "operator" });
  const operator = await world.page();
  await operator.goto(world.url);
  await login(operator, day.token);
  await operator.goto(`${world.url}/activity`);
  const shut = operator.getByRole("button", { name: "Verify the audit log" });
  await shut.waitFor();
  await until("an operator may not", async () => (await shut.getAttribute("aria-disabled")) === "true");
  const other = await world.page();
  await other.goto(world.url);
  await login(other, world.token);
  await other.goto(`${world.url}/activity`);
  const link = other.getByRole("link", { name: "Audit log with hashes" });
  assert.equal(await link.getAttribute("href"), "/api/v1/audit/export");
  await other.getByRole("button", { name: "Verify the audit log" }).click();
  await other.getByRole("status").filter({ hasText: /^Chain verified, \d+ entries; witnesses: \d of 1 / }).waitFor();
});

