// Volumes of a device on its page. The device is asked: one that is away or silent is said to be, in
// its place. What a device with a container engine answers is put in at the browser's edge, since no
// engine runs here; files, artifacts and downloads are real.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { sha256, tar } from "./image.mjs";
import { choose } from "./scene.mjs";
import { until, World } from "./world.mjs";

const VOLUMES = [
  { workload: "till", volume: "data", bytes: 5_242_880, used: true },
  { workload: "till", volume: "cache", used: false },
  { workload: "shop", volume: "db", bytes: 1_024, used: false },
];

let world, page;
before(async () => {
  world = await World.start();
  await world.device("pump-1", { role: "gateway" });
  page = await world.open("/devices/pump-1");
});
after(async () => {
  if (page) assert.deepEqual(page.faults, []);
  await world?.end();
});

const card = () => page.getByRole("region", { name: "Volumes" });
const row = (name) => card().getByRole("row", { name });
const online = (wanted) => until(`it is ${wanted}`, async () => (await world.must("GET", "/api/v1/devices/pump-1")).status.connection === wanted);

/** What an engine's device would answer; gives the requests that came. */
async function answered(volumes, more = {}) {
  const asked = [];
  await page.route(/\/api\/v1\/devices\/pump-1\/volumes/, async (route) => {
    const request = route.request();
    const what = `${request.method()} ${new URL(request.url()).pathname.replace("/api/v1/devices/pump-1/volumes", "") || "/"}`;
    asked.push([what, request.postDataJSON()]);
    if (what === "GET /") return route.fulfill({ json: { items: volumes, metadata: {} } });
    const given = more[what];
    if (!given) return route.fulfill({ status: 500, json: { error: { code: "internal", message: `a test has no answer to ${what}` } } });
    return route.fulfill(await given());
  });
  return asked;
}

const none = () => page.unrouteAll({ behavior: "wait" });

test("a device is asked when somebody looks, and not before", async () => {
  const asked = await answered(VOLUMES);
  await page.getByText("How it stands").first().waitFor();
  assert.deepEqual(asked, []);
  await page.getByRole("tab", { name: "Volumes" }).click();
  await row(/^data till 5\.0 MiB in use/).waitFor();
  // What the device could not count is not shown as nothing.
  await row(/^cache till not known not in use/).waitFor();
  await row(/^db shop 1\.0 KiB not in use/).waitFor();
  assert.equal(asked.length, 1);
  await card().getByRole("button", { name: "Ask again" }).click();
  await until("it is asked again", () => asked.length === 2);
  await none();
});

test("a volume in use is neither deleted nor replaced, and the page says what to do", async () => {
  for (const name of ["Delete till/data", "Restore till/data"]) {
    const button = page.getByRole("button", { name });
    assert.equal(await button.getAttribute("aria-disabled"), "true");
    assert.match(await button.getAttribute("title"), /pause or delete the workload first/);
  }
});

test("a volume is deleted by its name, and a refusal of the device stands in the dialog", async () => {
  let left = VOLUMES;
  let refuses = true;
  const asked = await answered([], {
    "DELETE /till/cache": () => (refuses ? { status: 409, json: { error: { code: "conflict", message: "device pump-1: volume till/cache is used by container hf-till-3" } } } : { status: 204 }),
  });
  await page.route(/\/volumes$/, (route) => route.fulfill({ json: { items: left, metadata: {} } }));
  await page.getByRole("button", { name: "Delete till/cache" }).click();
  const dialog = page.getByRole("dialog", { name: "Delete volume till/cache?" });
  const act = dialog.getByRole("button", { name: "Delete till/cache" });
  assert.equal(await act.isDisabled(), true);
  await dialog.getByRole("textbox").fill("till/cache");
  await act.click();
  await dialog.getByRole("alert").getByText("used by container hf-till-3").waitFor();
  refuses = false;
  left = VOLUMES.filter(({ volume }) => volume !== "cache");
  await act.click();
  await page.getByText("Volume till/cache of pump-1 is deleted").waitFor();
  await row(/^cache/).waitFor({ state: "detached" });
  assert.equal(asked.filter(([what]) => what === "DELETE /till/cache").length, 2);
  await none();
});

test("a backup is downloaded, and then takes no more room with the control plane", async () => {
  const content = tar([["ledger.db", "what the till knows\n".repeat(50)]]);
  let finish;
  const made = new Promise((done) => (finish = done));
  await answered(VOLUMES, {
    "POST /till/data/backup": async () => {
      await made;
      const { body } = await world.ask("PUT", "/api/v1/artifacts", content, { "content-type": "application/octet-stream" });
      return { json: body };
    },
  });
  await page.getByRole("button", { name: "Back up till/data" }).click();
  await card().getByText("pump-1 uploads till/data.").waitFor();
  assert.equal(await page.getByRole("button", { name: "Back up till/data" }).isDisabled(), true);
  // It goes on while other pages are looked at.
  await page.getByRole("link", { name: "Devices", exact: true }).first().click();
  await page.getByRole("heading", { name: "Devices", exact: true }).waitFor();
  finish();
  await page.getByRole("link", { name: "pump-1", exact: true }).click();
  await page.getByRole("tab", { name: "Volumes" }).click();
  await card().getByText("till/data is backed up").waitFor();
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Download the backup" }).click()]);
  assert.equal(download.suggestedFilename(), "pump-1-till-data.tar");
  assert.deepEqual(readFileSync(await download.path()), content);
  await page.getByRole("button", { name: "Delete it from the control plane" }).click();
  await card().getByText("till/data is backed up").waitFor({ state: "detached" });
  assert.equal((await world.ask("GET", `/api/v1/artifacts/${sha256(content)}`)).status, 404);
  await none();
});

test("a restore sends the file, has the device take it, and leaves nothing behind", async () => {
  const content = tar([["ledger.db", "what it knew before\n"]]);
  let there;
  const asked = await answered(VOLUMES, {
    "POST /shop/db/restore": async () => {
      there = (await world.ask("GET", `/api/v1/artifacts/${sha256(content)}`)).status;
      return { status: 204 };
    },
  });
  await choose(page, "Restore shop/db", "shop-db.tar", content);
  const dialog = page.getByRole("dialog", { name: "Replace volume shop/db?" });
  await dialog.getByText("shop-db.tar").waitFor();
  await dialog.getByRole("textbox").fill("shop/db");
  await dialog.getByRole("button", { name: "Replace shop/db" }).click();
  await card().getByText("shop/db is restored").waitFor();
  assert.equal(there, 200, "the device could have fetched it");
  assert.deepEqual(asked.find(([what]) => what.endsWith("/restore"))[1], { digest: sha256(content) });
  await until("the file is gone here", async () => (await world.ask("GET", `/api/v1/artifacts/${sha256(content)}`)).status === 404);
  await none();
});

test("who may read alone sees volumes, and why no more", async () => {
  const viewer = await world.as("viewer", "/devices/pump-1");
  await viewer.route(/\/volumes$/, (route) => route.fulfill({ json: { items: VOLUMES, metadata: {} } }));
  await viewer.getByRole("tab", { name: "Volumes" }).click();
  for (const name of ["Back up shop/db", "Restore shop/db", "Delete shop/db"]) {
    const button = viewer.getByRole("button", { name });
    await button.waitFor();
    assert.match((await button.getAttribute("title")) ?? "", /needs the role operator or admin/, name);
  }
  assert.deepEqual(viewer.faults, []);
  await viewer.context().close();
});

test("a device that is connected and says nothing: so it is told, by the control plane", async () => {
  const agent = world.agents.get("pump-1");
  agent.kill("SIGSTOP");
  try {
    await card().getByRole("button", { name: "Ask again" }).click();
    await card().getByRole("alert").getByText(/device pump-1 /).waitFor({ timeout: 60_000 });
    await card().getByText("The device did not say which volumes it has").waitFor();
  } finally {
    agent.kill("SIGCONT");
  }
});

test("of a device that is away nothing is known, and it is not asked", async () => {
  await world.stop("pump-1");
  await online("offline");
  const asked = await answered(VOLUMES);
  await card().getByText("Its volumes are not known now").waitFor();
  await card().getByText(/it is offline/).waitFor();
  await page.reload();
  await card().getByText("Its volumes are not known now").waitFor();
  assert.deepEqual(asked, []);
  // Whoever asks all the same is told so.
  const { status, body } = await world.ask("GET", "/api/v1/devices/pump-1/volumes");
  assert.equal(status, 503);
  assert.match(body.error.message, /pump-1/);
  // It is back: it is asked anew.
  world.run("pump-1");
  await online("online");
  await row(/^data till/).waitFor();
  assert.equal(asked.length, 1);
  await none();
});
