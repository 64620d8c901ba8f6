// Enrolment as it is seen by whoever makes the token: the form, the line, the device arriving.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { until, World } from "./world.mjs";

let world, page;
before(async () => {
  world = await World.start();
  page = await world.open("/enrolment");
});
after(() => world?.end());

const line = () => page.getByTestId("enrol-line");

test("the form has the focus, and Enter in it makes the token", async () => {
  await page.getByRole("button", { name: "Make a token" }).click();
  const first = page.getByLabel("Expires after");
  await first.waitFor();
  await until("its first field has the focus", () => first.evaluate((field) => field === document.activeElement));
  await page.getByLabel("Labels that devices may claim").fill("line role=x");
  await page.getByText("“role=x” cannot be a label's key").waitFor();
  await page.getByLabel("Labels that devices may claim").fill("line");
  await first.press("Enter");
  await line().waitFor();
});

test("a loopback address in the line is warned of", async () => {
  assert.match(await line().innerText(), /--url https:\/\/127\.0\.0\.1:\d+/);
  const warning = page.getByRole("alert").filter({ hasText: "No other machine reaches this address" });
  await warning.getByText("Let it listen on an address of its network").waitFor();
  await page.getByLabel("Address as the device sees it").fill("https://10.0.0.5:8443");
  await warning.waitFor({ state: "detached" });
  assert.match(await line().innerText(), /--url https:\/\/10\.0\.0\.5:8443/);
  await page.getByLabel("Address as the device sees it").fill(world.url);
  await warning.waitFor();
});

test("the device is seen arriving: enrolled, its labels that do not count, its first report; the secret is hidden", async () => {
  const arrivals = page.getByRole("status", { name: "Arrivals" });
  await arrivals.getByText("for 1 device to enrol").waitFor();
  await page.getByLabel(/^Name of the device/).fill("gw-7");
  const text = await line().innerText();
  const secret = /HOLDFAST_TOKEN=hf1\.[0-9a-f]+\.([^. ]+)/.exec(text)[1];
  await world.paste(`${text} --label line=4 --label site=berlin`, "gw-7");
  await arrivals.getByRole("link", { name: "gw-7" }).waitFor();
  await arrivals.getByText(/gw-7 enrolled \d+:\d\d:\d\d/).waitFor();
  await arrivals.getByText("waiting for its first report").waitFor();
  await arrivals.getByText(/do not count, for the token does not allow them: site$/).waitFor();
  await page.getByText("The token is used", { exact: true }).waitFor();
  assert.doesNotMatch(await page.content(), new RegExp(secret), "the secret is still on the page");
  assert.match(await line().innerText(), /^HOLDFAST_TOKEN='?hf1\.[0-9a-f]+\.•••/);
  assert.equal(await page.getByRole("button", { name: "Copy" }).count(), 0);
  assert.equal(await page.getByRole("img", { name: /QR code/ }).count(), 0);
  world.run("gw-7");
  await arrivals.getByText("first report came").waitFor();
  await arrivals.getByText(/online since \d+:\d\d:\d\d/).waitFor();
  await arrivals.getByRole("link", { name: "gw-7" }).click();
  await page.getByRole("heading", { name: "gw-7" }).waitFor();
});

test("a token for several devices keeps its line until the last has arrived, or it is hidden", async () => {
  await page.goto(`${world.url}/enrolment?new=token`);
  await page.getByLabel("Number of devices").fill("2");
  await page.getByLabel("Number of devices").press("Enter");
  await line().waitFor();
  const text = await line().innerText();
  await world.paste(`${text} --name gw-8`, "gw-8");
  await page.getByText("for 1 more device to enrol").waitFor();
  assert.equal(await line().innerText(), text, "the line is still needed");
  await page.getByRole("button", { name: "Hide the secret" }).click();
  assert.match(await line().innerText(), /•••/);
});

test("which token allows which labels is in the list", async () => {
  await page.goto(`${world.url}/enrolment`);
  await page.getByRole("button", { name: /Show \d+ expired/ }).click();
  await page.getByRole("row", { name: /used/ }).getByText("line", { exact: true }).waitFor();
});

test("nothing broke in the browser", () => assert.deepEqual(page.faults, []));
