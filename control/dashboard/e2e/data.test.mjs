// Data in the pages: a device's streams, charts, questions to the fleet that can be cancelled, and
// exports.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { BUDGET, METRICS, metered, settle } from "./scene.mjs";
import { until, World } from "./world.mjs";

/** Waits until a number of the device's metrics has values in two minutes: fewer make no line. */
function hasLine(world, device) {
  const of = encodeURIComponent("device/metrics\tcpu");
  return until(`${device}'s metrics have values in two minutes`, async () => {
    const { items } = await world.must("GET", `/api/v1/devices/${device}/sparklines?of=${of}`);
    return items[0]?.values.filter((value) => typeof value === "number").length >= 2;
  }, 150_000);
}

let world;
before(async () => {
  world = await World.start();
  await world.device("pump-1", { role: "gateway", site: "berlin" });
  await world.apply(METRICS, BUDGET);
  await metered(world, "pump-1", 20);
  await hasLine(world, "pump-1");
});
after(() => world?.end());

test("a device's streams are shown with their ledger, and what it says of its link and horizon", async () => {
  const page = await world.open("/devices/pump-1?tab=streams");
  const row = page.getByRole("row", { name: /device\/metrics/ });
  await row.waitFor();
  await row.getByRole("img", { name: /over the last hour: from .* to / }).waitFor();
  await row.getByRole("button", { name: "device/metrics" }).click();
  await page.getByRole("img", { name: /^Chart of / }).waitFor();
  await page.locator(".u-wrap canvas").waitFor();
  await page.getByText(/records received, 0 of them again, 0 late; none missing/).waitFor();
  assert.match(page.url(), /stream=device%2Fmetrics/);
  const budget = page.getByRole("region", { name: "Link budget" });
  await budget.getByRole("row", { name: /^control/ }).waitFor();
  await budget.getByRole("row", { name: /^all .*100\.0 MiB/ }).waitFor();
  await page.getByRole("region", { name: "Horizon" }).getByText(/It can work without the control plane/).waitFor();
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("a stream is exported as it stands behind the button", async () => {
  const page = await world.open("/data?device=pump-1&stream=device%2Fmetrics");
  const links = page.getByRole("link", { name: /Parquet/ });
  await until("both buttons are there", async () => (await links.count()) === 2);
  for (const link of await links.all()) {
    const answer = await page.request.get(new URL(await link.getAttribute("href"), world.url).href);
    assert.equal(answer.status(), 200);
    const body = await answer.body();
    assert.equal(body.subarray(0, 4).toString(), "PAR1");
    assert.equal(body.subarray(-4).toString(), "PAR1");
  }
  await page.context().close();
});

test("the fleet answers a question, with its cost", async () => {
  const page = await world.open("/data?tab=ask");
  await page.getByRole("textbox", { name: "Stream", exact: true }).fill("device/metrics");
  await page.getByRole("textbox", { name: "Select", exact: true }).fill("count");
  await page.getByRole("textbox", { name: "By", exact: true }).fill("site");
  await page.getByRole("textbox", { name: "Every", exact: true }).fill("1m");
  await page.getByRole("button", { name: "Ask", exact: true }).click();
  const answer = page.getByRole("region", { name: "Answer" });
  await answer.getByText("1 device answered").waitFor();
  await answer.getByText("Crossed the links").waitFor();
  await answer.getByText(/would have cost \d/).waitFor();
  await answer.getByRole("cell", { name: "berlin" }).first().waitFor();
  await answer.locator(".u-wrap canvas").waitFor();
  assert.match(page.url(), /select=count/);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("a question that waits can be cancelled; a bad one says what is wrong with it", async () => {
  const page = await world.open("/data?tab=ask&stream=device%2Fmetrics&select=count(&wait=1h");
  await page.getByRole("button", { name: "Ask", exact: true }).click();
  await page.getByRole("alert").waitFor();
  await page.getByRole("textbox", { name: "Select", exact: true }).fill("count");
  await world.device("pump-9", { role: "gateway" }, { start: false });
  await page.getByRole("button", { name: "Ask", exact: true }).click();
  await page.getByRole("progressbar", { name: "Devices that have answered" }).waitFor();
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByText("Cancelled").waitFor();
  await page.context().close();
});

test("an empty fleet says so", async () => {
  const page = await world.open("/");
  await settle(world, page, "/data?q=nothing-like-this", "No stream is like this");
  await page.context().close();
});
