// Whatever a device or a workload says is text: markup in log lines, labels and names runs nowhere.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { until, World } from "./world.mjs";

const EVIL = "<img src=x onerror=window.hacked=1><b>bold</b><script>window.hacked=1</script>";

let world, page;
before(async () => {
  world = await World.start();
  await world.device("pump-1", { role: "gateway" });
  await world.apply({
    apiVersion: "holdfast/v1", kind: "Workload", metadata: { name: "evil" },
    spec: { devices: { matchLabels: { role: "gateway" } }, run: { process: { path: "/bin/sh", args: ["-c", `while true; do echo "${EVIL}"; sleep 1; done`], env: { EVIL } } }, config: { "<b>.conf": EVIL }, stop: { grace: "1s" } },
  });
  // Names and labels with markup are refused by the API; as if an older one had let them in, the
  // answers on the way to the browser get them here.
  page = await world.open("/");
  await page.route(/\/api\/v1\/(devices|fleet|audit|activity|explain|labels|workloads|revisions)/, async (route) => {
    if (/\/logs/.test(route.request().url()) || route.request().method() !== "GET") return route.continue();
    const response = await route.fetch();
    const text = (await response.text()).replaceAll('"gateway"', JSON.stringify(EVIL)).replaceAll('"message":"', `"message":"${EVIL}`).replaceAll('"reason":"', `"reason":"${EVIL}`).replaceAll('"createdBy":"', `"createdBy":"${EVIL}`).replaceAll(/"problems":\[\]/g, JSON.stringify({ problems: [{ code: EVIL, message: EVIL }] }).slice(1, -1));
    return route.fulfill({ response, body: text });
  });
});
after(() => world?.end());

async function harmless() {
  assert.equal(await page.evaluate(() => window.hacked), undefined, "markup ran");
  assert.equal(await page.locator("#root img, #root b:text-is('bold'), #root script").count(), 0, "markup was rendered");
}

test("log lines", async () => {
  await page.goto(`${world.url}/devices/pump-1?tab=logs`);
  await page.getByRole("log").getByText(EVIL).first().waitFor();
  await harmless();
});

for (const [what, path, shown] of [
  ["labels, problems and reasons of a device", "/devices/pump-1", `role=${EVIL}`],
  ["the device table", "/devices?columns=connection.problems.labels", `role=${EVIL}`],
  ["the raw document", "/devices/pump-1?tab=raw", EVIL],
  ["a workload's reasons", "/workloads/evil", EVIL],
  ["revisions", "/workloads/evil?tab=revisions", EVIL],
  ["the editor", "/workloads/evil?tab=edit", EVIL],
  ["what changed lately", "/", EVIL],
  ["the audit log", "/activity", EVIL],
  ["a timeline", "/devices/pump-1?tab=history", EVIL],
]) {
  test(what, async () => {
    await page.goto(world.url + path);
    await until("the text is there, as text", async () => (await page.locator("body").innerText()).replaceAll("\n", "").includes(shown.replaceAll("\n", "")));
    await harmless();
  });
}

test("names: of files in the configuration, and in the address", async () => {
  await page.goto(`${world.url}/workloads/evil?tab=edit`);
  await page.locator(".cm-content").getByText("<b>.conf").waitFor();
  await page.goto(`${world.url}/devices/${encodeURIComponent(EVIL)}`);
  await page.getByRole("heading", { name: EVIL }).waitFor();
  await harmless();
});

test("the policy lets no script in that is not the server's own", async () => {
  const { headers } = await world.ask("GET", "/");
  const policy = headers["content-security-policy"];
  assert.match(policy, /default-src 'none'/);
  assert.match(policy, /script-src 'self'(;|$)/);
  assert.match(policy, /style-src 'self' 'nonce-[^']+'(;|$)/);
  assert.doesNotMatch(policy, /unsafe/);
});

test("nothing broke in the browser", () => assert.deepEqual(page.faults.filter((fault) => !/404/.test(fault)), []));
