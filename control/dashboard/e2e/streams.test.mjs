// Streams and the documents about them, on real programs: what a policy holds back is not missing and
// can be fetched, gaps have times, records are read and searched, lines lie over one another, any
// range, stream policies and link budgets are made, edited and deleted, and a link budget that is used
// up is one problem.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import http from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { BIN, login, paste, until, World } from "./world.mjs";

let world;
const access = new Map();

/** Publishes records on a device, as a program there does. */
function publish(device, stream, body, type = "application/x-ndjson") {
  const { HOLDFAST_SOCKET: socketPath, HOLDFAST_MQTT_USERNAME: user, HOLDFAST_MQTT_PASSWORD: password } = access.get(device);
  return new Promise((done, fail) => {
    const request = http.request({ socketPath, method: "POST", path: `/v1/streams/${encodeURIComponent(stream)}`, auth: `${user}:${password}`, headers: { "content-type": type } }, (response) => {
      response.resume();
      response.on("end", () => (response.statusCode === 200 ? done() : fail(new Error(`the device answered ${response.statusCode}`))));
    });
    request.on("error", fail);
    request.end(body);
  });
}

async function device(name, labels) {
  await world.device(name, labels);
  const said = execFileSync(join(BIN, "holdfast-agent"), ["local-access", "create", "checker", "--data", join(world.folder, name), "-o", "env"]).toString();
  access.set(name, Object.fromEntries(said.trim().split("\n").map((line) => line.split(/=(.*)/s))));
}

const policy = (name, spec, labels = { role: "pump" }) => ({ apiVersion: "holdfast/v1", kind: "Stream", metadata: { name }, spec: { devices: { matchLabels: labels }, ...spec } });
const ledger = (device, stream, query = "") => world.must("GET", `/api/v1/devices/${device}/streams/${encodeURIComponent(stream)}/ledger${query}`);
const settled = (kind, name) => until(`${name} is in force`, async () => {
  const { status } = await world.must("GET", `/api/v1/policies/${kind}/${name}`);
  return status.devices > 0 && status.applied === status.devices;
});

before(async () => {
  world = await World.start();
  await device("pump-1", { role: "pump" });
  await device("pump-2", { role: "pump" });
  await world.apply(policy("pressure", { streams: ["pressure"], ship: { onChange: { field: "bar", deadband: "0.5" } } }), policy("raw", { streams: ["camera"], ship: "never" }));
  await settled("streams", "pressure");
});
after(() => world?.end());

test("what a policy holds back is not missing, and a button fetches it", async () => {
  await publish("pump-1", "pressure", '{"bar":4}\n'.repeat(20) + '{"bar":9}\n');
  await until("its changes have come", async () => (await ledger("pump-1", "pressure")).byPolicyCount.reduced > 0);
  const cli = execFileSync(join(BIN, "holdfast"), ["data", "list", "pump-1"], { env: { ...process.env, HOLDFAST_URL: world.url, HOLDFAST_TOKEN: world.token, HOLDFAST_CA: world.ca } }).toString();
  assert.match(cli, /STREAM +RECEIVED +MISSING +BY-POLICY/);
  assert.match(cli, /pressure +\d+ +0 +[1-9]/, cli);
  const page = await world.open("/data?device=pump-1&stream=pressure");
  const row = page.getByRole("row", { name: /pump-1 pressure/ });
  assert.equal(await row.getByRole("cell").last().innerText(), "0");
  const kept = page.getByRole("region", { name: "Ledger of pressure" });
  await kept.getByText(/held back by policy \(on the device\)/).waitFor();
  await kept.getByText(/none missing/).waitFor();
  assert.equal(await page.getByText("Shaded: where records are missing").count(), 0, "nothing is lost, nothing is red");
  await kept.getByRole("button", { name: "Which" }).click();
  const gap = kept.getByRole("table", { name: "What of pressure a policy holds back" }).getByRole("row").nth(1);
  await gap.getByRole("time").first().waitFor();
  await kept.getByRole("button", { name: "Fetch what was held back" }).click();
  await kept.getByText("Fetched", { exact: true }).waitFor();
  const told = await ledger("pump-1", "pressure");
  assert.deepEqual([told.byPolicyCount, told.missingCount], [{}, {}]);
  assert.equal(told.received, 21);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("a gap has its times, in the page and on the command line, and is shaded", async () => {
  await world.apply(policy("short", { streams: ["short"], quota: "256Ki", overflow: "drop-oldest" }));
  await settled("streams", "short");
  await publish("pump-1", "short", '{"n":1}\n{"n":2}\n');
  await until("the first have come", async () => (await ledger("pump-1", "short")).received === 2);
  // While the control plane is away more comes than the device may keep.
  await world.cut();
  for (let at = 0; at < 20; at += 1) await publish("pump-1", "short", Array.from({ length: 400 }, () => JSON.stringify({ n: Math.random(), m: randomBytes(60).toString("base64") })).join("\n"));
  await world.back();
  await until("it is back", async () => (await world.must("GET", "/api/v1/devices/pump-1")).status.connection === "online", 90_000);
  const told = await until("the gap is told", async () => {
    const found = await ledger("pump-1", "short");
    return (found.missingCount.quota ?? 0) > 0 && found.missing[0]?.until && found;
  }, 90_000);
  assert.ok(Date.parse(told.missing[0].since) < Date.parse(told.missing[0].until));
  const cli = execFileSync(join(BIN, "holdfast"), ["data", "ledger", "pump-1", "short"], { env: { ...process.env, HOLDFAST_URL: world.url, HOLDFAST_TOKEN: world.token, HOLDFAST_CA: world.ca } }).toString();
  assert.ok(cli.includes(told.missing[0].since) && cli.includes("SINCE"), cli);
  const page = await world.open("/devices/pump-1?tab=streams&stream=short");
  const gaps = page.getByRole("table", { name: "What of short is missing" });
  const times = gaps.getByRole("row").nth(1).getByRole("time");
  await until("both times are there", async () => (await times.count()) === 2);
  await gaps.getByText("quota", { exact: true }).first().waitFor();
  await page.getByText("Shaded: where records are missing").waitFor();
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("older gaps are asked for where there are many", async () => {
  const page = await world.page();
  // So many gaps take long to make: the ledger is the server's, with gaps of this test.
  await page.route(/\/streams\/short\/ledger/, async (route) => {
    const limit = Number(new URL(route.request().url()).searchParams.get("limit"));
    const told = await ledger("pump-1", "short");
    const missing = Array.from({ length: Math.min(limit, 120) }, (_, at) => ({ from: 2 * (200 - at), to: 2 * (200 - at), reason: "quota", since: null, until: null }));
    await route.fulfill({ json: { ...told, missing, metadata: { ...told.metadata, continue: limit < 120 ? "1" : null } } });
  });
  await page.goto(`${world.url}/devices/pump-1?tab=streams&stream=short`);
  await login(page, world.token);
  const gaps = page.getByRole("table", { name: "What of short is missing" }).getByRole("row");
  await until("the newest stand there", async () => (await gaps.count()) === 51);
  await page.getByText("The newest 50 gaps").waitFor();
  await page.getByRole("button", { name: "Older gaps" }).click();
  await until("all stand there", async () => (await gaps.count()) === 121);
  assert.equal(await page.getByRole("button", { name: "Older gaps" }).count(), 0);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("a stream of an address is shown whatever the list below it holds", async () => {
  const page = await world.open("/data?q=no-such-stream&device=pump-1&stream=pressure");
  await page.getByText("No stream is like this.").waitFor();
  await page.getByRole("region", { name: "Ledger of pressure" }).getByText(/records received/).waitFor();
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("a text stream is read and searched; JSON and CBOR are opened", async () => {
  const lines = Array.from({ length: 300 }, (_, at) => `pump runs, step ${at}`);
  lines[7] = "pump STOPPED by hand";
  await publish("pump-1", "log", lines.join("\n"), "text/plain");
  await publish("pump-1", "bits", Buffer.from([0xa1, 0x64, 0x74, 0x65, 0x6d, 0x70, 0x17]), "application/cbor-seq");
  await until("all have come", async () => (await ledger("pump-1", "log")).received === 300 && (await ledger("pump-1", "bits")).received === 1);
  const page = await world.open("/devices/pump-1?tab=streams&stream=log");
  const table = page.getByRole("table", { name: "Records of log" });
  await table.getByText("pump runs, step 299").waitFor();
  assert.equal(await page.getByText("No number in this time").count(), 0);
  assert.ok((await table.getByRole("row").count()) < 80, "only what is in sight is drawn");
  await table.getByText("text", { exact: true }).first().waitFor();
  await page.getByRole("textbox", { name: "Find in records" }).fill("stopped");
  await page.getByText("1 record with this text").waitFor();
  await table.getByRole("button", { name: /Record 8: pump STOPPED/ }).click();
  await table.getByRole("button", { name: "Copy" }).waitFor();
  assert.match(page.url(), /find=stopped/);
  await page.goto(`${world.url}/devices/pump-1?tab=streams&stream=bits&view=records`);
  const bits = page.getByRole("table", { name: "Records of bits" });
  await bits.getByText("cbor").waitFor();
  await bits.getByRole("button", { name: /Record 1/ }).click();
  await bits.getByText(/"temp": 23/).waitFor();
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("two fields and two devices lie over one another, in any range, and the address says so", async () => {
  for (const [name, at] of [["pump-1", 20], ["pump-2", 30]]) await publish(name, "flow", `{"litres":${at},"rpm":900}\n{"litres":${at + 1},"rpm":950}\n`);
  await until("both have come", async () => (await ledger("pump-1", "flow")).received === 2 && (await ledger("pump-2", "flow")).received === 2);
  const page = await world.open("/devices/pump-1?tab=streams&stream=flow");
  const beside = page.getByRole("combobox", { name: "Beside it" });
  await beside.click();
  await page.getByRole("option", { name: "rpm", exact: true }).click();
  await page.getByRole("option", { name: "pump-2 litres", exact: true }).click();
  await page.keyboard.press("Escape");
  await page.getByRole("img", { name: /litres of flow of pump-1, rpm of flow of pump-1, litres of flow of pump-2/ }).waitFor();
  await page.locator(".u-legend").getByText("pump-1 rpm (right)").waitFor();
  assert.equal(new URL(page.url()).searchParams.get("over"), "pump-1/flow/rpm,pump-2/flow/litres");
  await page.reload();
  await page.locator(".u-legend").getByText("pump-2 litres").waitFor();
  // What is under the pointer is said, and a stretch that is drawn over is the range.
  const plot = page.locator(".u-over");
  const box = await plot.boundingBox();
  await page.mouse.move(box.x + box.width * 0.98, box.y + 20);
  await page.locator(".u-legend").getByText(/^9\d\d$/).waitFor();
  await page.mouse.move(box.x + box.width * 0.5, box.y + 20);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.75, box.y + 40, { steps: 5 });
  await page.mouse.up();
  const ends = await until("the address has the range", () => {
    const { searchParams } = new URL(page.url());
    return searchParams.get("to") && [searchParams.get("from"), searchParams.get("to")].map((at) => Date.parse(at));
  });
  assert.ok(Math.abs(ends[1] - ends[0] - 900_000) < 60_000, `a quarter of the hour, not ${(ends[1] - ends[0]) / 1000} s`);
  await page.getByRole("button", { name: /Back to the last/ }).click();
  // Any range, beside the spans.
  await page.getByRole("combobox", { name: "Time" }).click();
  await page.getByRole("option", { name: "from and to…" }).click();
  await page.getByLabel("From", { exact: true }).fill("2020-01-01T00:00:00");
  await page.getByLabel("To", { exact: true }).fill("2020-01-02T00:00:00");
  await page.getByText("No number in this time").waitFor();
  assert.match(new URL(page.url()).searchParams.get("from"), /^20(19|20)-/);
  await page.getByRole("button", { name: "Show the records" }).click();
  await page.getByText("No record in this time.").waitFor();
  await page.getByRole("button", { name: /Back to the last/ }).click();
  await page.getByRole("table", { name: "Records of flow" }).getByText('{"litres":21,"rpm":950}').waitFor();
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("a stream policy is made, edited with its own words and deleted; misfits are told", async () => {
  const page = await world.open("/policies");
  await page.getByRole("row", { name: /pressure.*2 devices.*pump-1, pump-2/ }).getByText("in force").waitFor();
  await page.getByRole("link", { name: "New stream policy" }).click();
  const editor = page.locator(".cm-content");
  await editor.waitFor();
  await paste(editor, "apiVersion: holdfast/v1\nkind: Stream\nmetadata: { name: flows }\nspec:\n  devices: { matchLabels: { role: pump } }\n  streams: [flow, valve/*]\n  priority: 7\n");
  const changes = page.getByRole("region", { name: "Changes of flows" });
  await changes.getByText("applies to 2 devices; 2 streams change policy").waitFor();
  await changes.getByText("follow it from now on").waitFor();
  assert.equal(await page.getByText("begin to run it").count(), 0);
  await page.getByRole("button", { name: "Apply", exact: true }).click();
  await page.getByRole("heading", { name: "flows" }).waitFor();
  assert.match(page.url(), /\/policies\/streams\/flows$/);
  await page.getByText("valve/* matches no stream of its devices").waitFor();
  await page.getByRole("row", { name: /pump-1/ }).getByRole("link", { name: "flow", exact: true }).waitFor();
  // A narrower one takes a stream away, and both say so.
  await world.apply(policy("narrow", { streams: ["flow"] }), policy("flows", { streams: ["fl*", "valve/*"] }));
  await page.getByText("2 streams that it matches follow narrow instead", { exact: false }).waitFor();
  await page.getByRole("row", { name: /pump-1/ }).getByRole("link", { name: "narrow" }).waitFor();
  await page.getByRole("tab", { name: "Edit" }).click();
  await page.getByText("Nothing would change").waitFor();
  await paste(editor, (await editor.innerText()).replaceAll("\n\n", "\n").replace("fl*", "flo*"));
  await page.getByText(/applies to 2 devices; .* policy/).waitFor();
  await page.getByRole("button", { name: "Apply", exact: true }).click();
  await page.getByText("flows is changed", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Delete…" }).click();
  const dialog = page.getByRole("dialog");
  const act = dialog.getByRole("button", { name: "Delete flows" });
  assert.equal(await act.isDisabled(), true, "it hits two devices: its name is typed");
  await dialog.getByRole("textbox").fill("flows");
  await act.click();
  await page.getByText("flows is deleted", { exact: true }).waitFor();
  assert.equal((await world.ask("GET", "/api/v1/policies/streams/flows")).status, 404);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("a link budget that is used up is one problem with its consequences, and the table says the same", async () => {
  await device("buoy-1", { role: "buoy" });
  const page = await world.open("/policies?tab=budgets");
  await page.getByText("No link budget yet").waitFor();
  await page.getByRole("link", { name: "New link budget" }).click();
  const editor = page.locator(".cm-content");
  await editor.waitFor();
  await paste(editor, "apiVersion: holdfast/v1\nkind: LinkBudget\nmetadata: { name: satellite }\nspec:\n  devices: { matchLabels: { role: buoy } }\n  per: day\n  bytes: 400Ki\n  shares: { events: 1%, data: 1%, logs: 40%, artifacts: 40% }\n");
  await page.getByText("applies to 1 device; 1 link gets another bound").waitFor();
  await page.getByRole("button", { name: "Apply", exact: true }).click();
  await page.getByRole("heading", { name: "satellite" }).waitFor();
  await settled("linkbudgets", "satellite");
  await publish("buoy-1", "wave", Array.from({ length: 800 }, () => JSON.stringify({ height: Math.random(), period: Math.random() })).join("\n"));
  const problems = await until("something waits", async () => {
    const { status } = await world.must("GET", "/api/v1/devices/buoy-1");
    const found = status.problems.filter(({ code }) => code === "link-budget");
    return found.some(({ consequences = [] }) => consequences.length > 0) && found;
  }, 90_000);
  assert.equal(problems.length, 1, JSON.stringify(problems));
  assert.match(problems[0].message, /^link budget satellite \(400Ki a day\): .*data/);
  const { link } = await world.must("GET", "/api/v1/devices/buoy-1/streams");
  const waiting = link.classes.filter(({ fits }) => fits === "waits").map((one) => one.class);
  assert.deepEqual(problems[0].consequences.map((text) => text.split(":")[0]), waiting);
  const described = execFileSync(join(BIN, "holdfast"), ["describe", "device", "buoy-1"], { env: { ...process.env, HOLDFAST_URL: world.url, HOLDFAST_TOKEN: world.token, HOLDFAST_CA: world.ca } }).toString();
  assert.match(described, /data +.*waits/);
  assert.ok(described.includes(problems[0].consequences[0]), described);
  await page.goto(`${world.url}/devices/buoy-1?tab=streams`);
  const budget = page.getByRole("region", { name: "Link budget" });
  await budget.getByRole("row", { name: /^data/ }).getByText("waits", { exact: true }).waitFor();
  await budget.getByRole("row", { name: /^all/ }).getByText("waits", { exact: true }).waitFor();
  await budget.getByText(/not known yet/).first().waitFor();
  await budget.getByRole("link", { name: "satellite" }).click();
  await page.getByRole("row", { name: /buoy-1/ }).getByText("waits", { exact: true }).waitFor();
  await page.getByText(/buoy-1: .*records are not shipped/).waitFor();
  await page.getByRole("button", { name: "Delete…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete satellite" }).click();
  await page.getByText("satellite is deleted", { exact: true }).waitFor();
  await until("the problem is over", async () => (await world.must("GET", "/api/v1/devices/buoy-1")).status.problems.every(({ code }) => code !== "link-budget"), 60_000);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("two hundred streams stay readable: found by name, what ails first, few requests", async () => {
  for (let at = 0; at < 60; at += 1) await publish("pump-2", `many/${String(at).padStart(3, "0")}`, `{"n":${at}}\n`);
  await until("they have come", async () => (await world.must("GET", "/api/v1/streams?device=pump-2&q=many&limit=200")).items.filter(({ received }) => received > 0).length === 60, 90_000);
  const page = await world.open("/devices/pump-2?tab=streams");
  const table = page.getByRole("region", { name: "Streams", exact: true });
  await table.getByText(/25 of 6\d/).waitFor();
  assert.equal(await table.getByRole("row").count(), 26);
  let asked = 0;
  page.on("request", (request) => { if (request.url().includes("/api/v1/devices/pump-2/")) asked += 1; });
  await new Promise((go) => setTimeout(go, 12_000));
  assert.ok(asked <= 4, `${asked} requests in 12 s`);
  await page.getByRole("textbox", { name: "Find a stream" }).fill("many/059");
  await until("one is left", async () => (await table.getByRole("row").count()) === 2);
  await page.setViewportSize({ width: 360, height: 800 });
  const high = (await table.getByRole("row").nth(1).boundingBox()).height;
  assert.ok(high < 110, `a stream takes ${high} px on a phone`);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("Ctrl-K finds streams and the documents about them", async () => {
  const page = await world.open("/");
  await page.getByText("Changed lately").waitFor();
  await page.keyboard.press("Control+k");
  await page.getByRole("combobox", { name: /^Search devices/ }).fill("pressure");
  await page.getByRole("option", { name: /pressure of pump-1/ }).waitFor();
  await page.getByRole("option", { name: /^pressure Stream policy/ }).click();
  await page.getByRole("heading", { name: "pressure" }).waitFor();
  assert.match(page.url(), /\/policies\/streams\/pressure$/);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});
