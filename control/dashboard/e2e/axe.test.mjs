// axe on every page, light and dark, wide and narrow; and that a keyboard alone gets everywhere.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { seed, PAGES, settle } from "./scene.mjs";
import { World } from "./world.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let world;
before(async () => {
  world = await World.start();
  await seed(world);
});
after(() => world?.end());

async function violations(page) {
  // Evaluated by the debugger: the page's own policy would not let it in.
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  return violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.slice(0, 3).map((node) => `${node.target.join(" ")} ${node.any[0]?.message ?? ""}`).join(" | ")}`);
}

for (const colorScheme of ["light", "dark"]) {
  for (const width of [1440, 360]) {
    test(`no violation on any page, ${colorScheme}, ${width} px`, async () => {
      const login = await world.page({ colorScheme, viewport: { width, height: 800 } });
      await login.goto(world.url);
      await login.getByRole("button", { name: "Log in" }).waitFor();
      const found = (await violations(login)).map((one) => `login ${one}`);
      const page = await world.open("/", { colorScheme, viewport: { width, height: 800 } });
      for (const { name, path, ready, act } of PAGES) {
        await settle(world, page, path, ready);
        await act?.(page);
        found.push(...(await violations(page)).map((one) => `${name} ${one}`));
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        if (wide > 0) found.push(`${name}: scrolls sideways by ${wide} px`);
      }
      assert.deepEqual(found, []);
      assert.deepEqual(page.faults, []);
      await login.context().close();
      await page.context().close();
    });
  }
}

test("dialogs, the search and the editor's help have no violation either", async () => {
  const page = await world.open("/devices");
  await page.getByRole("link", { name: "pump-1", exact: true }).waitFor();
  const found = [];
  const look = async (what, open) => {
    await open();
    await page.getByRole("dialog").waitFor();
    found.push(...(await violations(page)).map((one) => `${what} ${one}`));
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
  };
  await look("search", async () => {
    await page.keyboard.press("Control+k");
    await page.getByRole("option").first().waitFor();
  });
  await page.getByRole("checkbox", { name: /^Select the \d+ devices? on screen/ }).check();
  await look("bulk label", () => page.getByRole("button", { name: "Label…" }).click());
  await look("bulk approve", () => page.getByRole("button", { name: "Approve…" }).click());
  await look("bulk delete", () => page.getByRole("button", { name: /^Delete \d+…/ }).click());
  await look("bulk revoke", () => page.getByRole("button", { name: /^Revoke \d+…/ }).click());
  await page.goto(`${world.url}/workloads/hello`);
  await look("delete workload", () => page.getByRole("button", { name: "Delete…" }).click());
  await page.goto(`${world.url}/apply`);
  await look("push from the editor", () => page.getByRole("button", { name: "Push an artifact…" }).click());
  assert.deepEqual(found, []);
  await page.context().close();
});

test("what is not allowed, one's own account and a secret that is shown once have no violation", async () => {
  const found = [];
  const look = async (what, page) => found.push(...(await violations(page)).map((one) => `${what} ${one}`));
  const viewer = await world.as("viewer", "/devices/pump-1");
  await viewer.getByRole("button", { name: "Actions" }).first().click();
  await viewer.getByRole("menuitem", { name: /^Revoke…/ }).waitFor();
  // How Mantine builds a menu is not the pages': guards of the focus in it, and its place in the document.
  const menus = /^menu of a viewer (aria-required-children|region):/;
  await look("menu of a viewer", viewer);
  await viewer.goto(`${world.url}/apply`);
  await viewer.getByText("You may not see this").waitFor();
  await look("page that is not allowed", viewer);
  await viewer.goto(`${world.url}/enrolment`);
  await viewer.getByRole("button", { name: "Approve scale-4" }).waitFor();
  await look("buttons that are not allowed", viewer);
  await viewer.context().close();
  const password = await world.user("emil", ["viewer"]);
  const emil = await world.person("emil", password, "/settings?tab=me");
  await emil.getByRole("button", { name: "Set up a second factor" }).waitFor();
  await look("my account", emil);
  await emil.getByLabel(/^Password, to show/).fill(world.passwords.get(password));
  await emil.getByRole("button", { name: "Set up a second factor" }).click();
  await emil.getByRole("img", { name: /QR code/ }).waitFor();
  await look("second factor", emil);
  await emil.context().close();
  const page = await world.open("/settings?tab=access&new=access");
  await page.getByRole("textbox", { name: "Name", exact: true }).fill("look");
  await page.getByRole("button", { name: "Create" }).click();
  await page.getByTestId("access-token").waitFor();
  await look("secret shown once", page);
  await page.context().close();
  assert.deepEqual(found.filter((one) => !menus.test(one)), []);
});

test("by keyboard: skip to the content, go to a device by Ctrl-K, change its tab, sort the table", async () => {
  const page = await world.open("/");
  await page.getByRole("heading", { name: "Fleet", exact: true }).waitFor();
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), "To the content");
  await page.keyboard.press("Control+k");
  await page.getByRole("combobox", { name: /^Search/ }).and(page.locator(":focus")).waitFor();
  await page.keyboard.type("pump-1");
  await page.getByRole("option", { name: /pump-1 .*Device/ }).first().waitFor();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "pump-1", exact: true }).waitFor();
  await page.getByRole("tab", { name: "Overview" }).focus();
  await page.keyboard.press("ArrowRight");
  await page.getByRole("tab", { name: "Streams", selected: true }).waitFor();
  assert.match(page.url(), /tab=streams/);
  await page.keyboard.press("ArrowRight");
  await page.getByRole("log").waitFor();
  assert.match(page.url(), /tab=logs/);
  await page.goto(`${world.url}/devices`);
  await page.getByRole("button", { name: "Problems" }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("columnheader", { name: /Problems/, includeHidden: true }).and(page.locator('[aria-sort="descending"]')).waitFor();
  assert.match(page.url(), /sort=-problems/);
  await page.context().close();
});
