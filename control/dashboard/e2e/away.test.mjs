// Devices that are away: when that is normal and when it is not, in the API and on the pages; and
// when a device was last heard.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { BIN, paste, talker, until, World } from "./world.mjs";

let world;

before(async () => {
  world = await World.start();
});

after(() => world?.end());

const policy = (name, labels, whenOffline) => ({ apiVersion: "holdfast/v1", kind: "DevicePolicy", metadata: { name }, spec: { devices: { matchLabels: labels }, whenOffline } });
const fleet = () => world.must("GET", "/api/v1/fleet");
const device = async (name) => (await world.must("GET", `/api/v1/devices/${name}`)).status;
const found = async (query) => (await world.must("GET", `/api/v1/devices?${query}`)).items.map(({ metadata }) => metadata.name);

/** Starts an agent whose keep-alive is so many seconds. */
function run(name, keepAlive) {
  const config = world.file(`${name}.toml`, `[link]\nkeep_alive_seconds = ${keepAlive}\n`);
  const child = spawn(join(BIN, "holdfast-agent"), ["run", "--data", join(world.folder, name), "--config", config], { stdio: "ignore" });
  world.agents.set(name, child);
  return child;
}

test("a device that is expected to be away is no alarm, is counted apart, and nobody is away against expectation", async () => {
  await world.device("ship-1", { kind: "ship" });
  await world.device("pump-1", { kind: "pump" });
  // It fails on the ship as well when it was last heard.
  await world.apply(talker("relay", "sleep 1; exit 1", { kind: "ship" }), talker("hello", "while true; do echo ahoy; sleep 1; done", { kind: "pump" }));
  await until("relay fails on the ship", async () => (await device("ship-1")).health.state === "failing");
  await world.stop("ship-1");
  await until("the ship is offline", async () => (await fleet()).devices.offline === 1);
  assert.deepEqual(await found("absence=unexpected"), ["ship-1"]);

  const page = await world.open("/devicepolicies?new=policy");
  await paste(page.locator(".cm-content"), `apiVersion: holdfast/v1\nkind: DevicePolicy\nmetadata: { name: ships }\nspec:\n  devices: { matchLabels: { kind: ship } }\n  whenOffline: expcted\n`);
  await page.getByText("1 fault", { exact: true }).waitFor();
  await paste(page.locator(".cm-content"), `apiVersion: holdfast/v1\nkind: DevicePolicy\nmetadata: { name: ships }\nspec:\n  devices: { matchLabels: { kind: ship } }\n  whenOffline: expected\n`);
  await page.getByText("Accepted, not applied yet").waitFor();
  await page.getByRole("button", { name: "Apply", exact: true }).click();
  await page.getByRole("heading", { name: "ships" }).waitFor();
  await page.getByRole("region", { name: "Away as expected" }).or(page.locator(".hf-card", { hasText: "Away as expected" })).getByText("ship-1").first().waitFor();

  await until("hello has settled", async () => (await fleet()).settled);
  const now = await fleet();
  assert.deepEqual([now.devices.offline, now.devices.expectedAway, now.devices.ignored], [0, 1, 0]);
  assert.deepEqual(now.attention, []);
  assert.deepEqual(await found("absence=unexpected"), []);
  assert.deepEqual(await found("absence=expected"), ["ship-1"]);
  const { absence } = await device("ship-1");
  assert.deepEqual([absence.policy, absence.rule, absence.state, absence.expected, absence.alarmAt], ["ships", "expected", "expected", true, undefined]);

  await page.goto(`${world.url}/`);
  await page.getByRole("link", { name: "1 away as expected", exact: true }).click();
  await page.getByRole("link", { name: "ship-1" }).first().click();
  await page.getByText("expected to be away (device policy ships: expected)").waitFor();
  await page.goto(`${world.url}/devices?absence=unexpected`);
  await page.getByText("pump-1").waitFor({ state: "detached" });
  assert.equal(await page.getByRole("link", { name: "ship-1" }).count(), 0);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("an absence becomes critical after its time, and the page shows it without a reload", async () => {
  await world.apply(policy("trucks", { kind: "truck" }, { alarmAfter: "10s" }));
  await world.device("truck-1", { kind: "truck" });
  const page = await world.open("/");
  await page.getByRole("link", { name: /^3 devices$/ }).waitFor();
  await world.stop("truck-1");
  await until("it is away as expected", async () => (await device("truck-1")).absence.state === "expected");
  assert.deepEqual((await fleet()).devices.offline, 0);
  const alarmAt = Date.parse((await device("truck-1")).absence.alarmAt);
  await page.getByText(/1 device has been offline/).waitFor();
  assert.ok(Date.now() >= alarmAt - 1_000, "not before its time");
  assert.deepEqual(await found("absence=unexpected"), ["truck-1"]);
  await page.goto(`${world.url}/devices/truck-1`);
  await page.getByText("away against expectation (device policy trucks: alarm after 10 s)").waitFor();
  await world.must("DELETE", "/api/v1/devices/truck-1");
  await page.context().close();
});

test("a device that never came becomes critical after its time, and not where it is expected to stay away", async () => {
  await world.apply(policy("fresh", { stage: "new" }, { alarmAfter: "10s" }), policy("workshop", { stage: "shelf" }, "expected"));
  await world.device("new-1", { stage: "new" }, { start: false });
  await world.device("shelf-1", { stage: "shelf" }, { start: false });
  const page = await world.open("/");
  await page.getByText(/1 device was enrolled .* and never connected/).waitFor();
  assert.deepEqual(await found("attention=never-seen"), ["new-1"]);
  const now = await fleet();
  assert.deepEqual([now.devices.neverSeen, now.devices.expectedAway], [1, 2], "the shelf's and the ship");
  for (const name of ["new-1", "shelf-1"]) await world.must("DELETE", `/api/v1/devices/${name}`);
  await page.context().close();
});

test("a hung device's last packet keeps its time, and is late before the connection is cut", async () => {
  await world.device("slow-1", { kind: "slow" }, { start: false });
  await world.apply(talker("idler", "exec sleep 10000", { kind: "slow" }));
  const agent = run("slow-1", 24);
  await until("idler runs", async () => (await device("slow-1")).workloads.idler?.state === "running");
  const page = await world.open("/devices/slow-1");
  agent.kill("SIGSTOP");
  try {
    const heard = await until("it is overdue", async () => {
      const status = await device("slow-1");
      return status.connection === "online" && status.overdue && status.heardAt;
    }, 60_000);
    await page.locator(".hf-late").first().waitFor();
    // Nobody knows what it does: green beside a late packet would be a lie.
    const { workloads, health } = await device("slow-1");
    assert.deepEqual([workloads.idler.state, workloads.idler.lastState], ["unknown", "running"]);
    assert.notEqual(health.state, "healthy");
    const line = page.getByRole("row", { name: /^idler / });
    await line.getByText("running when last heard").first().waitFor();
    assert.equal(await line.locator(".hf-good").count(), 0);
    assert.equal((await fleet()).settled, false);
    const explained = await world.must("GET", "/api/v1/explain/device/slow-1");
    assert.match(explained.reasons.join(), /connected, but not heard for \d+ s \(due \d+ s ago\)/);
    const offline = await until("it is cut", async () => {
      const status = await device("slow-1");
      return status.connection === "offline" && status;
    });
    await page.locator(".hf-late").first().waitFor({ state: "detached" });
    assert.ok(Math.abs(Date.parse(offline.heardAt) - Date.parse(heard)) <= 1_000, `${offline.heardAt} is still ${heard}`);
    assert.ok(Date.parse(offline.connectionSince) - Date.parse(offline.heardAt) >= 34_000, "noticed after one and a half keep-alives");
  } finally {
    agent.kill("SIGCONT");
  }
  await page.context().close();
});
