// From nothing to a running workload, as an operator goes: log in, make a token, enrol with the
// page's own line, approve, apply from the editor, follow the log, lose the agent and see it back.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import jsqr from "jsqr";
import { PNG } from "pngjs";
import { login, paste, until, World } from "./world.mjs";

/** The example that the editor begins with, made to count quickly. */
const COUNTING = `${readFileSync(join(import.meta.dirname, "../src/lib/example.yaml"), "utf8").replace(/while true.*$/m, "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.3; done")}  stop: { grace: 1s }\n`;

/** What a phone reads from the QR code on the screen. */
async function scanned(code) {
  const { data, width, height } = PNG.sync.read(await code.screenshot());
  return jsqr(new Uint8ClampedArray(data), width, height)?.data;
}

let world, page;
before(async () => {
  world = await World.start();
  page = await world.page();
});
after(() => world?.end());

/** Since the login nothing was loaded anew: this would be gone. */
const mark = () => page.evaluate(() => (window.stillHere = true));
const unmoved = async () => assert.equal(await page.evaluate(() => window.stillHere), true, "the page was loaded anew");

test("a wrong token is refused in words, the right one opens the empty fleet with its next step", async () => {
  await page.goto(world.url);
  await page.getByRole("textbox", { name: "Access token" }).fill("hfa1.admin.00");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("alert").getByText("Not logged in").waitFor();
  await login(page, world.token);
  await page.getByText("No device yet").waitFor();
  const cookies = await page.context().cookies();
  assert.deepEqual(cookies.map(({ name, httpOnly, secure, sameSite }) => ({ name, httpOnly, secure, sameSite })), [{ name: "__Host-holdfast", httpOnly: true, secure: true, sameSite: "Strict" }]);
  assert.equal(await page.evaluate((token) => JSON.stringify({ ...localStorage, ...sessionStorage }).includes(token), world.token), false, "the token is kept in the browser");
  await mark();
});

test("a token is made, and a device enrols with the page's own line and waits", async () => {
  await page.getByRole("link", { name: "make an enrolment token" }).click();
  await page.getByLabel("Labels of its devices").fill("role=gateway site=berlin");
  await page.getByRole("checkbox", { name: /wait until somebody approves/ }).check();
  await page.getByRole("button", { name: "Make the token" }).click();
  await page.getByLabel(/^Name of the device/).fill("pump-7");
  const line = await page.getByTestId("enrol-line").innerText();
  assert.match(line, /^HOLDFAST_TOKEN=hf1\.\S+ holdfast-agent enroll --url https:\/\/127\.0\.0\.1:\d+ --name pump-7$/);
  assert.equal(await scanned(page.getByRole("img", { name: /QR code/ })), line, "the QR code says something else");
  assert.match(await world.paste(line, "pump-7"), /pump-7/);
  world.run("pump-7");
});

test("it stands in the waiting room by itself, is approved there, and comes online", async () => {
  await page.getByRole("button", { name: "Approve pump-7" }).click();
  await page.getByText("pump-7 is approved").waitFor();
  await page.getByText("No device is waiting").waitFor();
  await page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name: "Devices" }).click();
  await page.getByRole("row", { name: /pump-7/ }).getByText("online").waitFor();
  await unmoved();
});

test("a workload applied from the editor runs, without a reload", async () => {
  await page.keyboard.press("Control+k");
  await page.getByRole("combobox", { name: /^Search/ }).fill("apply a work");
  await page.keyboard.press("Enter");
  const editor = page.getByRole("textbox", { name: /Documents to apply/ });
  await editor.waitFor();
  await paste(editor, COUNTING);
  await page.getByText("Accepted, not applied yet").waitFor();
  const changes = page.getByRole("region", { name: "Changes of hello" });
  await changes.getByText("begin to run it").waitFor();
  await changes.getByRole("link", { name: "pump-7" }).waitFor();
  await page.getByRole("button", { name: "Apply", exact: true }).click();
  await page.getByText("hello is created", { exact: true }).waitFor();
  await page.getByRole("row", { name: /pump-7/ }).getByText("running", { exact: true }).waitFor();
  await page.getByText("runs on all 1").waitFor();
  await unmoved();
});

test("its log follows", async () => {
  await page.getByRole("link", { name: "Log on pump-7" }).click();
  const log = page.getByRole("log");
  await log.getByText(/(^|\s)line 1$/m).first().waitFor();
  const last = async () => Number(/line (\d+)\s*$/.exec((await log.innerText()).trim())?.[1]);
  const before = await last();
  await until("the log goes on", async () => (await last()) >= before + 3);
  assert.equal((await log.innerText()).match(/(^|\s)line 1$/gm).length, 1, "a line came twice");
});

test("the agent stops: offline; it starts: online, all without a reload", async () => {
  await world.stop("pump-7");
  await page.getByText("offline", { exact: true }).waitFor();
  await page.getByText("its log can be read when it is back").waitFor();
  await page.getByRole("tab", { name: "History" }).click();
  await page.getByRole("row", { name: /disconnected/ }).first().waitFor();
  world.run("pump-7");
  await page.getByText("online", { exact: true }).first().waitFor();
  await page.getByRole("tab", { name: "Logs" }).click();
  await page.getByRole("log").getByText(/line \d+/).first().waitFor();
  await unmoved();
});

test("the control plane is gone: the page says so, keeps what it has, and recovers by itself", async () => {
  await page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name: "Devices" }).click();
  const row = page.getByRole("row", { name: /pump-7/ });
  await row.getByText("online").waitFor();
  await world.cut();
  await page.getByText("The control plane is out of reach").waitFor();
  assert.equal(await row.count(), 1, "the table was thrown away");
  await world.back();
  await page.getByText("The control plane is out of reach").waitFor({ state: "detached" });
  await row.getByText("online").waitFor();
  await unmoved();
});

test("a workload is deleted by name, and the log out ends the session at the server", async () => {
  await page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name: "Workloads" }).click();
  await page.getByRole("link", { name: "hello", exact: true }).click();
  await page.getByRole("button", { name: "Delete…" }).click();
  await page.getByRole("dialog").getByText("ends on 1 device").waitFor();
  await page.getByRole("button", { name: "Delete hello" }).click();
  await page.getByText("No workload yet").waitFor();
  await until("the device has stopped it", async () => Object.keys((await world.must("GET", "/api/v1/devices/pump-7")).status.workloads).length === 0);
  await page.getByRole("button", { name: /^Logged in as/ }).click();
  await page.getByRole("menuitem", { name: "Log out" }).click();
  await page.getByRole("textbox", { name: "Access token" }).waitFor();
  assert.equal(await page.evaluate(async () => (await fetch("/api/v1/session")).status), 401);
});

test("nothing broke in the browser", () => assert.deepEqual(page.faults, []));
