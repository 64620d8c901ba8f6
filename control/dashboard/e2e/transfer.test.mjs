// Files in and out: an artifact pushed and run, a backup downloaded whole and put back in place,
// both with their progress, their cancel and their refusals in words.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { readdirSync, readFileSync, truncateSync } from "node:fs";
import { basename, join } from "node:path";
import { after, before, test } from "node:test";
import { choose as chooseOn } from "./scene.mjs";
import { login, paste, talker, until, World } from "./world.mjs";

const MIB = 1024 * 1024;
const LARGEST = 32 * MIB;

let world, page;
before(async () => {
  world = await World.start({ config: `[artifacts]\nmax_bytes = ${LARGEST}\n` });
  await world.device("pump-1", { role: "gateway" });
  page = await world.open("/", { permissions: ["clipboard-read", "clipboard-write"] });
});
after(() => world?.end());

const choose = (button, { name, buffer }) => chooseOn(page, button, name, buffer);

/** A line so slow that one can see a file go; `Infinity` is fast again. */
async function slow(bytesPerSecond) {
  const session = await page.context().newCDPSession(page);
  const throughput = bytesPerSecond === Infinity ? -1 : bytesPerSecond;
  await session.send("Network.enable");
  await session.send("Network.emulateNetworkConditions", { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: throughput });
  return session;
}

const copied = () => page.evaluate(() => navigator.clipboard.readText());

test("an artifact is pushed: its digest and its line can be copied, and a device runs it", async () => {
  const program = Buffer.from("#!/bin/sh\necho I am the artifact\nexec sleep 1000\n");
  const digest = `sha256:${createHash("sha256").update(program).digest("hex")}`;
  await page.keyboard.press("Control+k");
  await page.getByRole("combobox", { name: /^Search/ }).fill("push an art");
  await page.keyboard.press("Enter");
  await choose("Choose a file and push it", { name: "reader.sh", buffer: program });
  await page.getByText("reader.sh is stored").waitFor();
  assert.equal(await page.getByTestId("digest").innerText(), digest);
  await page.getByRole("button", { name: "Copy the digest" }).click();
  assert.equal(await copied(), digest);
  await page.getByRole("button", { name: "Copy the line" }).click();
  const line = await copied();
  assert.equal(line, await page.getByTestId("artifact-line").innerText());
  assert.deepEqual((await world.ask("GET", `/api/v1/artifacts/${digest}`)).bytes, program);
  await page.getByRole("link", { name: "Apply a workload" }).click();
  await paste(page.locator(".cm-content"), `apiVersion: holdfast/v1
kind: Workload
metadata: { name: reader }
spec:
  devices: { matchLabels: { role: gateway } }
  run:
    process:
      ${line}
  stop: { grace: 1s }
`);
  await page.getByText("Accepted, not applied yet").waitFor();
  await page.getByRole("button", { name: "Apply", exact: true }).click();
  await page.getByRole("row", { name: /pump-1/ }).getByText("running", { exact: true }).waitFor();
  await page.getByRole("link", { name: "Log on pump-1" }).click();
  await page.getByRole("log").getByText("I am the artifact").waitFor();
});

test("a large artifact shows how far it is, goes on over other pages, and can be cancelled", async () => {
  const incoming = () => readdirSync(join(world.folder, "plane/artifacts/incoming")).length;
  const large = { name: "large.bin", buffer: randomBytes(24 * MIB) };
  await page.goto(`${world.url}/artifact`);
  const session = await slow(3 * MIB);
  await choose("Choose a file and push it", large);
  const bar = page.getByRole("progressbar", { name: "Sending large.bin" });
  await until("it is under way", async () => Number(await bar.getAttribute("aria-valuenow")) > 0);
  assert.ok(incoming() > 0, "nothing came in");
  await page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name: "Workloads" }).click();
  await page.getByRole("link", { name: "Push an artifact" }).click();
  const at = Number(await bar.getAttribute("aria-valuenow"));
  await until("it went on meanwhile", async () => Number(await bar.getAttribute("aria-valuenow")) > at);
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByText("Not stored: cancelled").waitFor();
  await until("the control plane has thrown it away", () => incoming() === 0);
  await slow(Infinity);
  await session.detach();
  await choose("Push another file", large);
  await page.getByText("large.bin is stored").waitFor();
  assert.equal(await page.getByTestId("digest").innerText(), `sha256:${createHash("sha256").update(large.buffer).digest("hex")}`);
});

test("what is too large is refused in the server's words, however much of it is on its way", async () => {
  const path = world.file("huge.bin", "");
  truncateSync(path, 200 * MIB);
  const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.getByRole("button", { name: "Push another file" }).click()]);
  await chooser.setFiles(path);
  const said = page.getByRole("alert");
  await said.getByText("Not stored: huge.bin").waitFor();
  await said.getByText(`an artifact may have ${LARGEST} bytes at most`).waitFor();
});

test("the editor pushes an artifact too, without leaving what is typed", async () => {
  await page.goto(`${world.url}/apply`);
  await paste(page.locator(".cm-content"), "# mine\nkind: Workload\n");
  await page.getByText("Comments are not kept").waitFor();
  await page.getByRole("button", { name: "Push an artifact…" }).click();
  await choose("Choose a file and push it", { name: "tiny", buffer: Buffer.from("x") });
  await page.getByRole("dialog").getByText("tiny is stored").waitFor();
  await page.keyboard.press("Escape");
  await page.locator(".cm-content").getByText("# mine").waitFor();
  await paste(page.locator(".cm-content"), "kind: Workload\n");
  await page.getByText("Comments are not kept").waitFor({ state: "detached" });
});

test("files are opened into the editor, as `holdfast apply -f` takes them", async () => {
  const documents = [talker("one", "sleep 1000", { role: "nobody" }), talker("two", "sleep 1000", { role: "nobody" })];
  const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.getByRole("button", { name: "Open files…" }).click()]);
  await chooser.setFiles(documents.map((document) => ({ name: `${document.metadata.name}.json`, mimeType: "application/json", buffer: Buffer.from(JSON.stringify(document, null, 2)) })));
  await page.getByRole("region", { name: "Changes of one" }).waitFor();
  await page.getByRole("region", { name: "Changes of two" }).waitFor();
  await page.getByRole("button", { name: "Discard my changes" }).click();
});

let saved;
const whole = () => ({ name: basename(saved), buffer: readFileSync(saved) });

test("a backup that is downloaded from the page is whole", async () => {
  await page.goto(`${world.url}/settings`);
  const make = page.getByRole("button", { name: "Download a backup" });
  assert.equal(await make.isDisabled(), true, "who can open it is chosen first");
  await page.getByRole("textbox", { name: "Passphrase" }).fill("six words of a dice roll");
  const [encrypted] = await Promise.all([page.waitForEvent("download"), make.click()]);
  assert.match(encrypted.suggestedFilename(), /^holdfast-\d{4}-\d\d-\d\d\.tar\.age$/);
  const closed = join(world.folder, encrypted.suggestedFilename());
  await encrypted.saveAs(closed);
  assert.ok(readFileSync(closed, "latin1").startsWith("age-encryption.org/v1\n-> scrypt "));
  await page.getByRole("combobox", { name: "Encryption" }).click();
  await page.getByRole("option", { name: "Not encrypted" }).click();
  assert.equal(await make.isDisabled(), true, "it must be asked for");
  await page.getByRole("checkbox").check();
  const [download] = await Promise.all([page.waitForEvent("download"), make.click()]);
  assert.match(download.suggestedFilename(), /^holdfast-\d{4}-\d\d-\d\d\.tar$/);
  saved = join(world.folder, download.suggestedFilename());
  await download.saveAs(saved);
  assert.equal(await download.failure(), null);
  // tar reads it to its end, and fails on one that is cut.
  const names = execFileSync("tar", ["tf", saved]).toString().trim().split("\n");
  assert.deepEqual(names.slice(0, 3), ["manifest.json", "authority.sealed.json", "keyring.sealed.json"]);
  assert.equal(names.filter((name) => /^artifacts\/sha256\/[0-9a-f]{64}$/.test(name)).length, 3, names.join());
  for (const name of names.slice(4)) {
    const bytes = execFileSync("tar", ["xfO", saved, name], { maxBuffer: 64 * MIB });
    assert.equal(name, `artifacts/sha256/${createHash("sha256").update(bytes).digest("hex")}`);
  }
  const keys = execFileSync("tar", ["xfO", saved, "store.ndjson"]).toString().trim().split("\n").map((line) => JSON.parse(line).key);
  for (const key of ["meta/default", "device/default/pump-1", "workload/default/reader"]) assert.ok(keys.includes(key), `${key} is not in it`);
});

test("what is no backup is refused before it is sent, and what is damaged in the server's words", async () => {
  await choose("Choose a backup…", { name: "holiday.tar", buffer: randomBytes(4096) });
  await page.getByRole("alert").getByText("holiday.tar is not a backup of Holdfast").waitFor();
  assert.equal(await page.getByRole("dialog").count(), 0);
  await choose("Choose a backup…", { name: "cut.tar", buffer: readFileSync(saved).subarray(0, 6_000) });
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("textbox").fill(new URL(world.url).host);
  await dialog.getByRole("button", { name: "Restore this backup" }).click();
  await page.getByRole("alert").getByText("Not restored: cut.tar").waitFor();
  await page.getByRole("alert").getByText(/^this is not a usable backup: store\.ndjson/).waitFor();
  assert.ok((await world.must("GET", "/api/v1/devices/pump-1")).status, "the device is gone");
});

test("a restore names what it replaces, can be cancelled under way, and changes nothing then", async () => {
  await world.apply(talker("later", "sleep 1000"));
  await until("it runs", async () => (await world.must("GET", "/api/v1/devices/pump-1")).status.workloads.later?.phase === "running");
  const session = await slow(4 * MIB);
  await choose("Choose a backup…", whole());
  const dialog = page.getByRole("dialog");
  await dialog.getByText(`Replace everything on ${new URL(world.url).host}?`).waitFor();
  await dialog.getByText("1 device and 2 workloads").waitFor();
  await dialog.getByText(/made .* by holdfast \d/).waitFor();
  const act = dialog.getByRole("button", { name: "Restore this backup" });
  assert.equal(await act.isDisabled(), true);
  await dialog.getByRole("textbox").fill("something else");
  assert.equal(await act.isDisabled(), true);
  await dialog.getByRole("textbox").fill(new URL(world.url).host);
  await act.click();
  const bar = page.getByRole("progressbar", { name: /^Sending holdfast-/ });
  await until("it is under way", async () => Number(await bar.getAttribute("aria-valuenow")) > 0);
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByText("Not restored: cancelled").waitFor();
  assert.ok(await world.must("GET", "/api/v1/workloads/later"));
  await slow(Infinity);
  await session.detach();
});

test("a restore says what happened at the login that follows it, and devices follow", async () => {
  const other = await page.context().newPage();
  await other.goto(`${world.url}/workloads`);
  await other.getByRole("link", { name: "later", exact: true }).waitFor();
  await choose("Choose a backup…", whole());
  await page.getByRole("dialog").getByRole("textbox").fill(new URL(world.url).host);
  await page.getByRole("button", { name: "Restore this backup" }).click();
  await page.getByText("Restored: 1 device and 1 workload").waitFor();
  await page.getByText(/The restore epoch is \d+ from now on/).waitFor();
  await page.getByText("Your session ended with it").waitFor();
  await other.getByRole("dialog", { name: "Your session has ended" }).waitFor();
  assert.equal((await world.ask("GET", "/api/v1/workloads/later")).status, 404);
  await login(page, world.token);
  await page.getByText("Restored: 1 device and 1 workload").waitFor();
  await until("the other tab is in again", async () => (await other.getByRole("dialog").count()) === 0);
  await other.getByRole("link", { name: "later", exact: true }).waitFor({ state: "detached" });
  await other.getByRole("link", { name: "reader", exact: true }).waitFor();
  await other.close();
  await page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name: "Activity" }).click();
  await page.getByText("restored a backup").first().waitFor();
  await until("the device has stopped what the backup does not know", async () => {
    const { status } = await world.must("GET", "/api/v1/devices/pump-1");
    return status.connection === "online" && !status.workloads.later && status.workloads.reader?.phase === "running";
  });
});

test("nothing broke in the browser", () => assert.deepEqual(page.faults, []));
