// Editing: faults at their places, completion from the schema, stale edits refused and rebased, and
// a destructive change that wants a name typed.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { login, paste, talker, until, World } from "./world.mjs";

let world, page;
before(async () => {
  world = await World.start();
  await world.device("pump-1", { role: "gateway" }, { start: false });
  await world.device("pump-2", { role: "gateway" }, { start: false });
  page = await world.open("/apply");
});
after(() => world?.end());

const editor = (of = page) => of.locator(".cm-content");

test("a document with two faults is marked at both places", async () => {
  await paste(editor(), `apiVersion: holdfast/v1
kind: Workload
metadata: { name: relay }
spec:
  devices: { matchLabels: { role: gateway } }
  run: { process: { path: /bin/sleep, args: ["1000"] } }
  restrt: { policy: always }
  resources: { memory: 12Q }
`);
  await page.getByText("2 faults", { exact: true }).waitFor();
  const marked = page.locator(".cm-lintRange-error");
  await until("both are marked", async () => (await marked.allInnerTexts()).join() === "restrt,12Q");
  const faults = page.getByRole("region", { name: "Faults" });
  await faults.getByText('did you mean "restart"?').waitFor();
  await faults.getByText(/unknown unit/).waitFor();
  await faults.getByRole("button", { name: /line 8 · spec\.resources\.memory/ }).click();
  assert.equal(await page.evaluate(() => window.getSelection()?.toString()), "12Q");
  assert.equal(await page.getByRole("button", { name: "Apply", exact: true }).isDisabled(), true);
});

test("keys and values complete from the schema of the API", async () => {
  await paste(editor(), "apiVersion: holdfast/v1\nkind: Workload\nspec:\n  rest");
  await editor().press("Control+End");
  await editor().press("Control+Space");
  const option = page.locator(".cm-tooltip-autocomplete").getByRole("option");
  await option.filter({ hasText: "restart" }).waitFor();
  await option.filter({ hasText: "restart" }).click();
  await page.keyboard.type("pol");
  await option.filter({ hasText: "policy" }).click();
  await option.filter({ hasText: "on-failure" }).click();
  assert.match((await page.evaluate(() => document.querySelector(".cm-content").innerText)), /\n {2}restart:\n {4}policy: on-failure/);
  // Each kind of document has keys of its own.
  await paste(editor(), "apiVersion: holdfast/v1\nkind: Stream\nspec:\n  ove");
  await editor().press("Control+End");
  await editor().press("Control+Space");
  await option.filter({ hasText: "overflow" }).click();
  await option.filter({ hasText: "drop-newest" }).waitFor();
  assert.equal(await option.filter({ hasText: "on-failure" }).count(), 0);
});

test("a stale edit is refused, shown what changed, and rebased", async () => {
  await world.apply(talker("relay", "sleep 1000"));
  await page.goto(`${world.url}/workloads/relay?tab=edit`);
  await editor().getByText("sleep 1000").waitFor();
  await page.getByText("Nothing would change").waitFor();
  const text = (await editor().innerText()).replaceAll("\n\n", "\n");
  await paste(editor(), text.replace("grace: 1s", "grace: 2s"));
  await page.getByText("Accepted, not applied yet").waitFor();
  // Somebody else is faster, between the dry run and the apply: the browser is told nothing yet.
  await page.route("**/api/v1/events", (route) => route.abort());
  const theirs = talker("relay", "sleep 2000");
  await world.apply(theirs);
  const [answer] = await Promise.all([
    page.waitForResponse((response) => response.url().endsWith("/api/v1/apply?dryRun=false")),
    page.getByRole("button", { name: "Apply", exact: true }).click(),
  ]);
  assert.equal(answer.status(), 409);
  await page.getByText("Refused: somebody changed this workload while you edited it").waitFor();
  const changed = page.getByRole("region", { name: "What changed meanwhile" });
  await changed.getByText("sleep 2000").waitFor();
  assert.equal((await world.must("GET", "/api/v1/workloads/relay")).spec.stop.grace, "1s", "the stale edit was applied");
  await page.unroute("**/api/v1/events");
  await page.getByRole("button", { name: "Put my changes onto the newest" }).click();
  await page.getByText("Accepted, not applied yet").waitFor();
  await page.getByRole("button", { name: "Apply", exact: true }).click();
  await page.getByText("relay is changed", { exact: true }).waitFor();
  const { spec } = await world.must("GET", "/api/v1/workloads/relay");
  assert.equal(spec.stop.grace, "2s");
  assert.equal(spec.run.process.args[1], "sleep 2000");
});

test("revisions show their differences", async () => {
  await page.getByRole("tab", { name: "Revisions" }).click();
  const shown = page.getByRole("region", { name: "Difference from revision 2 to revision 3" });
  await shown.getByText("grace: 2s").waitFor();
  await shown.getByText("grace: 1s").waitFor();
});

test("a change that takes a workload from two devices wants its name typed", async () => {
  await page.getByRole("tab", { name: "Edit" }).click();
  await page.getByText("Nothing would change").waitFor();
  await paste(editor(), (await editor().innerText()).replaceAll("\n\n", "\n").replace("role: gateway", "role: other"));
  await page.getByText("2 devices", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Apply", exact: true }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("pump-1, pump-2").waitFor();
  const act = dialog.getByRole("button", { name: /^Apply, and stop it on 2 devices/ });
  assert.equal(await act.isDisabled(), true);
  await dialog.getByRole("textbox").fill("relay");
  await act.click();
  await page.getByText("relay is changed", { exact: true }).waitFor();
});

test("labels of a device: a stale edit is refused and rebased", async () => {
  await page.goto(`${world.url}/devices/pump-1`);
  await page.getByRole("button", { name: "Edit labels" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("textbox", { name: "Value 1" }).fill("sensor");
  await world.must("PATCH", "/api/v1/devices/pump-1", { labels: { site: "berlin" } });
  await dialog.getByRole("button", { name: "Save" }).click();
  await dialog.getByText("Somebody changed these labels meanwhile").waitFor();
  await dialog.getByText("site=berlin").waitFor();
  await dialog.getByRole("button", { name: "Put mine onto theirs" }).click();
  await dialog.getByRole("button", { name: "Save" }).click();
  await dialog.waitFor({ state: "detached" });
  assert.deepEqual((await world.must("GET", "/api/v1/devices/pump-1")).metadata.labels, { role: "sensor", site: "berlin" });
});

test("many devices are labelled at once, and revoked with typed confirmation", async () => {
  await page.goto(`${world.url}/devices`);
  await page.getByRole("checkbox", { name: /^Select the \d+ devices? on screen/ }).check();
  await page.getByText("2 devices selected").waitFor();
  await page.getByRole("button", { name: "Label…" }).click();
  await page.getByRole("dialog").getByRole("textbox", { name: "Labels" }).fill("wave=1 site-");
  await page.getByRole("button", { name: "Label 2 devices" }).click();
  await page.getByText("2 devices labelled").waitFor();
  assert.equal((await world.must("GET", "/api/v1/devices?labelSelector=wave%3D1,!site")).items.length, 2);
  await page.getByRole("textbox", { name: "Label selector" }).fill("wave=");
  await page.getByRole("option", { name: /wave=1/ }).click();
  await until("the address has the selector", () => new URL(page.url()).searchParams.get("labels") === "wave=1");
  await page.getByRole("checkbox", { name: /^Select the \d+ devices? on screen/ }).check();
  await page.getByRole("button", { name: /^Revoke \d+…/ }).click();
  const act = page.getByRole("button", { name: "Revoke 2 devices" });
  assert.equal(await act.isDisabled(), true);
  await page.getByRole("dialog").getByRole("textbox").fill("2 devices");
  await act.click();
  await page.getByText("2 devices revoked").waitFor();
  await page.getByRole("row", { name: /pump-1/ }).getByText("revoked").first().waitFor();
});

test("a session that ended asks anew, and keeps what was typed", async () => {
  const { id, token } = await world.must("POST", "/api/v1/access", { name: "for a while", role: "operator" });
  const other = await world.page();
  await other.goto(`${world.url}/apply`);
  await login(other, token);
  await editor(other).waitFor();
  await paste(editor(other), "apiVersion: holdfast/v1\nkind: Workload\n# precious\n");
  await world.must("DELETE", `/api/v1/access/${id}`);
  const dialog = other.getByRole("dialog", { name: "Your session has ended" });
  await dialog.getByRole("textbox", { name: "Access token" }).fill(world.token);
  await dialog.getByRole("button", { name: "Log in" }).click();
  await dialog.waitFor({ state: "detached" });
  await editor(other).getByText("# precious").waitFor();
  await other.context().close();
});

test("nothing broke in the browser", () => assert.deepEqual(page.faults, []));
