// What each role sees of the pages: what is allowed works, what is not stands there disabled with its
// reason, and a page that may not be read says so in words. Against the real programs.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { talker, until, World } from "./world.mjs";

let world;
before(async () => {
  world = await World.start();
  await world.device("pump-1", { site: "kiel", role: "gateway" });
  await world.device("pump-2", { site: "bonn", role: "gateway" });
  await world.device("scale-4", { site: "kiel" }, { approve: "manual", start: false });
  await world.apply(talker("hello", "while true; do echo pressure; sleep 1; done"));
  await world.must("POST", "/api/v1/tokens", { labels: { site: "kiel" }, uses: 5 });
});
after(() => world?.end());

const go = (page, path) => page.goto(world.url + path);
const shut = (page, reason) => page.getByText("You may not see this").first().waitFor().then(() => page.getByText(reason).first().waitFor());

/** A button or an entry that stands there, is disabled for everybody who uses it, and says why. */
async function disabled(control, reason) {
  await control.waitFor();
  assert.equal(await control.getAttribute("aria-disabled"), "true", `${await control.innerText()} is not disabled`);
  assert.match((await control.getAttribute("title")) ?? "", reason);
  // Not by its title alone: screen readers say the description, and a menu shows it.
  const said = await control.evaluate((element) => document.getElementById(element.getAttribute("aria-describedby") ?? "")?.textContent ?? element.textContent);
  assert.match(said, reason);
}

async function enabled(control) {
  await control.waitFor();
  await until("it is enabled", async () => (await control.getAttribute("aria-disabled")) !== "true" && !(await control.isDisabled()));
}

async function menu(page, device) {
  await go(page, `/devices/${device}`);
  await page.getByRole("button", { name: "Actions" }).first().click();
}

/** Whoever ends with a page of the world has seen nothing break. */
async function done(page) {
  assert.deepEqual(page.faults, []);
  await page.context().close();
}

test("a viewer reads, and each change says which role it needs", async () => {
  const page = await world.as("viewer", "/devices");
  await page.getByRole("link", { name: "pump-1", exact: true }).waitFor();
  await menu(page, "pump-1");
  for (const name of [/^Edit labels…/, /^Revoke…/, /^Delete…/]) await disabled(page.getByRole("menuitem", { name }), /needs the role operator or admin, and access token \w+ has the role viewer/);
  await page.getByRole("menuitem", { name: /^Revoke…/ }).click({ force: true });
  assert.equal(await page.getByRole("dialog").count(), 0);
  await go(page, "/workloads/hello");
  await page.getByText("How it stands").waitFor();
  for (const name of ["Restart…", "Pause…", "Delete…"]) await disabled(page.getByRole("button", { name, exact: true }), /needs the role operator or admin/);
  // By keyboard too: it is reached, and does nothing.
  await page.getByRole("button", { name: "Delete…", exact: true }).focus();
  await page.keyboard.press("Enter");
  assert.equal(await page.getByRole("dialog").count(), 0);
  await page.getByRole("tab", { name: "Edit" }).click();
  await shut(page, /needs the role operator or admin/);
  await go(page, "/apply");
  await page.getByRole("heading", { name: "Apply a workload" }).waitFor();
  await shut(page, /needs the role operator or admin/);
  await go(page, "/enrolment");
  await disabled(page.getByRole("button", { name: "Make a token" }), /device-provisioner/);
  await disabled(page.getByRole("button", { name: "Approve scale-4" }), /device-provisioner/);
  await go(page, "/settings");
  await disabled(page.getByRole("button", { name: "Download a backup" }), /needs the role admin/);
  await disabled(page.getByRole("button", { name: "Choose a backup…" }), /needs the role admin/);
  for (const [tab, role] of [["People", /auditor or admin/], ["Access tokens", /auditor or admin/], ["Sessions", /auditor or admin/]]) {
    await page.getByRole("tab", { name: tab }).click();
    await shut(page, role);
  }
  await page.getByRole("link", { name: "What you may do" }).click();
  await page.getByRole("cell", { name: "Viewer", exact: true }).waitFor();
  await done(page);
});

test("what may not be read is not asked for: no refusal is written to the log because somebody looked at a page", async () => {
  const page = await world.as("viewer", "/");
  await page.getByText("Changed lately").first().waitFor();
  const asked = [];
  page.on("response", (answer) => { if (answer.status() === 403) asked.push(answer.url()); });
  await go(page, "/settings?tab=people");
  await shut(page, /auditor or admin/);
  await go(page, "/settings?tab=sessions");
  await shut(page, /auditor or admin/);
  assert.deepEqual(asked, []);
  await done(page);
});

test("an operator changes the fleet, and not who may use it", async () => {
  const page = await world.as("operator", "/devices");
  await menu(page, "pump-1");
  for (const name of [/^Edit labels…/, /^Revoke…/, /^Delete…/]) await enabled(page.getByRole("menuitem", { name }));
  await page.getByRole("menuitem", { name: /^Revoke…/ }).click();
  await page.getByRole("dialog").getByText("is disconnected at once").waitFor();
  await page.keyboard.press("Escape");
  await go(page, "/workloads/hello?tab=edit");
  await page.getByText("Nothing would change").waitFor();
  await enabled(page.getByRole("button", { name: "Restart…", exact: true }));
  await go(page, "/enrolment");
  await enabled(page.getByRole("button", { name: "Make a token" }));
  await go(page, "/settings?tab=roles");
  await disabled(page.getByRole("button", { name: "Give a role" }), /needs the role admin/);
  await page.getByText("What the roles may do").waitFor();
  await go(page, "/settings?tab=people");
  await shut(page, /auditor or admin/);
  await done(page);
});

test("an admin finds nothing disabled", async () => {
  const page = await world.as("admin", "/devices");
  for (const path of ["/devices/pump-1", "/workloads/hello", "/images?new=copy", "/enrolment", "/notifications?tab=notifications", "/settings", "/settings?tab=people", "/settings?tab=roles", "/settings?tab=access", "/settings?tab=sessions"]) {
    await go(page, path);
    await page.getByRole("heading", { level: 1 }).waitFor();
    await page.getByRole("status", { name: "Loading" }).first().waitFor({ state: "detached" });
    assert.equal(await page.locator("main [aria-disabled=true]").count(), 0, path);
    assert.equal(await page.getByText("You may not see this").count(), 0, path);
  }
  await done(page);
});

test("a device provisioner lets devices in, and is told what else there is", async () => {
  const page = await world.as("device-provisioner", "/enrolment");
  await enabled(page.getByRole("button", { name: "Make a token" }));
  await enabled(page.getByRole("button", { name: "Approve scale-4" }));
  await disabled(page.getByRole("button", { name: "Refuse scale-4" }), /needs the role operator or admin/);
  const entry = page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name: "Workloads" });
  await entry.getByText("not allowed").waitFor({ state: "attached" });
  await entry.click();
  await page.getByRole("heading", { name: "Workloads" }).waitFor();
  await shut(page, /needs the role viewer or operator or admin or auditor/);
  await go(page, "/devices/pump-1?tab=logs");
  await shut(page, /needs the role viewer or operator or admin/);
  // The home page has what it may see, and says of the rest why not.
  await go(page, "/");
  await page.getByRole("heading", { name: "Fleet", exact: true }).waitFor();
  await shut(page, /device-provisioner/);
  await done(page);
});

test("an auditor reads who may do what and what was done, and changes nothing", async () => {
  const page = await world.as("auditor", "/activity");
  await page.getByText("hello").first().waitFor();
  await go(page, "/settings?tab=people");
  await disabled(page.getByRole("button", { name: "Make a user" }), /needs the role admin/);
  await go(page, "/settings?tab=access");
  await disabled(page.getByRole("button", { name: "Revoke access token admin" }), /needs the role admin/);
  await go(page, "/settings?tab=sessions");
  await disabled(page.getByRole("button", { name: /^End the session of/ }).first(), /needs the role admin/);
  await go(page, "/devices/pump-1?tab=logs");
  await shut(page, /needs the role viewer or operator or admin/);
  await done(page);
});

test("a token for Prometheus logs in to a page that says what it is not for", async () => {
  const page = await world.as("metrics", "/");
  await page.getByRole("heading", { name: "Fleet", exact: true }).waitFor();
  await shut(page, /has the role metrics/);
  // Without a right to the event stream the page is not out of reach.
  await new Promise((go) => setTimeout(go, 3_000));
  assert.equal(await page.getByText("out of reach").count(), 0);
  await done(page);
});

test("a role on some devices reaches those, and the pages say where it ends", async () => {
  const password = await world.user("anna", ["viewer"], ["operator", { matchLabels: { site: "kiel" } }]);
  const page = await world.person("anna", password, "/devices");
  await page.getByRole("link", { name: "pump-2", exact: true }).waitFor();
  await menu(page, "pump-1");
  await enabled(page.getByRole("menuitem", { name: /^Revoke…/ }));
  await menu(page, "pump-2");
  await until("it is disabled where it does not reach", async () => (await page.getByRole("menuitem", { name: /^Revoke…/ }).getAttribute("aria-disabled")) === "true");
  await go(page, "/workloads/hello");
  // It runs in other places too: the control plane says where the role ends.
  const restart = page.getByRole("button", { name: "Restart…", exact: true });
  await enabled(restart);
  await restart.click();
  await page.getByRole("dialog").getByRole("button", { name: /^Restart/ }).click();
  await page.getByRole("alert").getByText(/site=kiel/).waitFor();
  await done(page);
});

test("roles that change are seen at once, without loading the page anew", async () => {
  const password = await world.user("bert", ["viewer"]);
  const page = await world.person("bert", password, "/workloads/hello");
  const restart = page.getByRole("button", { name: "Restart…", exact: true });
  await disabled(restart, /user bert has the role viewer/);
  await page.evaluate(() => (window.stillHere = true));
  const binding = { apiVersion: "holdfast/v1", kind: "RoleBinding", metadata: { name: "bert-more" }, spec: { role: "operator", subjects: ["bert"], devices: "all" } };
  await world.apply(binding);
  await enabled(restart);
  await world.must("DELETE", "/api/v1/policies/rolebindings/bert-more");
  await until("it is disabled again", async () => (await restart.getAttribute("aria-disabled")) === "true");
  assert.equal(await page.evaluate(() => window.stillHere), true);
  await done(page);
});

test("whoever has no role is told so, and not that something broke", async () => {
  const password = await world.user("carl");
  const page = await world.person("carl", password, "/");
  await shut(page, /has no role/);
  await go(page, "/settings?tab=me");
  await page.getByText("You have no role").waitFor();
  await done(page);
});
