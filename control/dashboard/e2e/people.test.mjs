// People, roles, access tokens, sessions and one's own account, in the pages, on the real programs.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, before, test } from "node:test";
import jsqr from "jsqr";
import { PNG } from "pngjs";
import { newPassword, until, World } from "./world.mjs";

let world, page;
before(async () => {
  world = await World.start();
  await world.device("pump-1", { site: "kiel" }, { start: false });
  page = await world.open("/");
});
after(() => world?.end());

const go = (path, of = page) => of.goto(world.url + path);
const card = (name, of = page) => of.getByRole("region", { name, exact: true });
const row = (name, of = page) => of.getByRole("row").filter({ has: of.getByText(name, { exact: true }) });
const dialog = () => page.getByRole("dialog");

/** What a phone reads from the QR code on the screen. */
async function scanned(code) {
  const { data, width, height } = PNG.sync.read(await code.screenshot());
  return jsqr(new Uint8ClampedArray(data), width, height)?.data;
}

/** The code of an authenticator program, `later` steps from now. */
function code(secret, later = 0) {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const bits = [...secret].map((letter) => alphabet.indexOf(letter).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + later));
  const tag = createHmac("sha1", key).update(step).digest();
  return String((tag.readUInt32BE(tag[19] & 15) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

async function choose(field, option, of = page) {
  await of.getByRole("combobox", { name: field }).click();
  await of.getByRole("option", { name: option, exact: true }).click();
}

async function act(name, entry) {
  await page.getByRole("button", { name: `Actions: ${name}` }).click();
  await page.getByRole("menuitem", { name: entry }).click();
}

let password, anna;

test("the token of the first start asks on every page to be replaced, and leads to how", async () => {
  const notice = page.getByRole("region", { name: "The first access token" });
  for (const path of ["/", "/devices", "/settings?tab=access"]) {
    await go(path);
    await notice.getByText("You use the token of the first start").waitFor();
  }
  await row("admin").getByText("for setting up").waitFor();
  await notice.getByRole("link", { name: "New user" }).click();
  await page.getByRole("form", { name: "New user" }).waitFor();
});

test("a user is made with a role; the password is shown once", async () => {
  await page.getByRole("textbox", { name: "Name", exact: true }).fill("Not A Name");
  await page.getByRole("button", { name: "Make the user" }).click();
  await page.getByRole("alert").getByText(/name/).first().waitFor();
  await page.getByRole("textbox", { name: "Name", exact: true }).fill("anna");
  await page.getByLabel("Full name").fill("Anna Berg");
  await choose("Role", "Admin");
  await page.getByRole("button", { name: "Make the user" }).click();
  await page.getByText("the only time that it is shown").waitFor();
  password = await page.getByTestId("password").innerText();
  assert.ok(password.length >= 16, password);
  await page.getByRole("button", { name: "Done" }).click();
  await row("anna").getByText("Admin", { exact: true }).waitFor();
  await row("anna").getByText("new password due").waitFor();
  assert.ok(!(await page.content()).includes(password), "the password is still on the page");
});

test("the user is asked to choose another password before all else, and does", async () => {
  anna = await world.page();
  const answer = await anna.request.post(`${world.url}/api/v1/session`, { data: { user: "anna", password } });
  assert.equal((await answer.json()).mustChange, true);
  await anna.goto(`${world.url}/devices`);
  await anna.getByText("Choose one that only you know").waitFor();
  assert.equal(await anna.getByRole("navigation", { name: "Pages" }).count(), 0, "the pages stand open before");
  const own = "four plain words here";
  const refused = (why) => anna.getByRole("alert").getByText(why).waitFor();
  await newPassword(anna, password, own, "four plain words");
  await refused("The two new passwords differ");
  await newPassword(anna, "wrong present one", own);
  await refused("the present password is wrong");
  await newPassword(anna, password, "anna anna anna");
  await refused(/it is the user's name/);
  await newPassword(anna, password, own);
  await anna.getByRole("button", { name: "Logged in as Anna Berg" }).waitFor();
  assert.match(anna.url(), /\/devices$/, "the page that was asked for");
  assert.equal(await anna.getByRole("region", { name: "The first access token" }).count(), 0);
  await anna.goto(`${world.url}/settings?tab=me`);
  await anna.getByRole("row").filter({ hasText: "Admin" }).getByText(/binding/).waitFor();
  password = own;
});

let secret;

test("a second factor is set up by its QR code, and counts once a code was shown", async () => {
  const factor = card("Second factor", anna);
  await factor.getByText("off", { exact: true }).waitFor();
  await factor.getByLabel(/^Password, to show/).fill(password);
  await factor.getByRole("button", { name: "Set up a second factor" }).click();
  secret = await anna.getByTestId("totp-secret").innerText();
  const qr = anna.getByRole("img", { name: /QR code/ });
  await qr.waitFor();
  assert.match((await scanned(qr)) ?? "", new RegExp(`^otpauth://totp/Holdfast.*:anna\\?secret=${secret}&`));
  await anna.getByRole("textbox", { name: "Code" }).fill("000000");
  await factor.getByRole("button", { name: "Confirm" }).click();
  await factor.getByRole("alert").getByText(/code is wrong/).waitFor();
  assert.equal(await anna.getByText("Your session has ended").count(), 0, "a wrong code ended the session");
  await until("the code is taken", async () => {
    await anna.getByRole("textbox", { name: "Code" }).fill(code(secret));
    await factor.getByRole("button", { name: "Confirm" }).click();
    return factor.getByText("on", { exact: true }).waitFor({ timeout: 5_000 }).then(() => true);
  });
  assert.equal((await world.ask("POST", "/api/v1/session", { user: "anna", password }, { authorization: "" })).body.error.code, "second-factor");
  const again = await world.person("anna", password, "/settings?tab=me", { code: code(secret, 1) });
  await card("Second factor", again).getByText("on", { exact: true }).waitFor();
  await again.context().close();
  await go("/settings?tab=people");
  await row("anna").getByText("on", { exact: true }).waitFor();
});

test("it is removed by the user with the password, or by an admin for whoever has lost it", async () => {
  const factor = card("Second factor", anna);
  await factor.getByLabel(/^Password, to show/).fill(password);
  await factor.getByRole("button", { name: "Remove the second factor" }).click();
  await factor.getByText("off", { exact: true }).waitFor();
  assert.deepEqual(anna.faults, []);
  // Set up anew, and the phone is lost.
  const ask = async (path, data) => anna.request.post(`${world.url}${path}`, { data, headers: { "x-csrf-token": (await (await anna.request.get(`${world.url}/api/v1/session`)).json()).csrf } });
  const lost = (await (await ask("/api/v1/me/second-factor", { password })).json()).secret;
  await until("it is confirmed", async () => (await ask("/api/v1/me/second-factor/confirm", { code: code(lost) })).ok());
  await go("/settings?tab=people");
  await row("anna").getByText("on", { exact: true }).waitFor();
  await act("anna", "Remove the second factor…");
  await dialog().getByRole("button", { name: "Remove the second factor" }).click();
  await row("anna").getByText("off", { exact: true }).waitFor();
  // It ended her sessions.
  await anna.getByRole("dialog", { name: "Your session has ended" }).waitFor();
  await anna.context().close();
  anna = await world.person("anna", password, "/devices");
});

test("a user is disabled, enabled, given another password, renamed and deleted by name", async () => {
  await world.user("bert", ["viewer"]);
  const first = await world.must("POST", "/api/v1/users/bert/password", {});
  const bert = await world.person("bert", first.password, "/devices");
  await go("/settings?tab=people");
  await row("bert").waitFor();
  await act("bert", "Disable…");
  await dialog().getByText("logged out everywhere").waitFor();
  await dialog().getByRole("button", { name: "Disable bert" }).click();
  await row("bert").getByText("disabled").waitFor();
  await bert.getByRole("dialog", { name: "Your session has ended" }).waitFor();
  await bert.context().close();
  await act("bert", "Enable");
  await row("bert").getByText("active", { exact: true }).waitFor();
  await act("bert", "Set another password…");
  await dialog().getByRole("button", { name: "Make a password" }).click();
  const made = await page.getByTestId("password").innerText();
  assert.notEqual(made, first.password);
  await page.getByRole("button", { name: "Done" }).click();
  await row("bert").getByText("new password due").waitFor();
  await (await world.person("bert", made)).context().close();
  await act("bert", "Change the full name…");
  await dialog().getByLabel("Full name").fill("Bert Carl");
  await dialog().getByRole("button", { name: "Save" }).click();
  await row("bert").getByText("Bert Carl").waitFor();
  await act("bert", "Delete…");
  const end = dialog().getByRole("button", { name: "Delete bert" });
  assert.equal(await end.isDisabled(), true);
  await dialog().getByRole("textbox").fill("bert");
  await end.click();
  await row("bert").waitFor({ state: "detached" });
});

test("a role is given after a dry run, changed and taken away", async () => {
  await world.user("carl");
  await go("/settings?tab=roles");
  await page.getByRole("button", { name: "Give a role" }).click();
  await dialog().getByText("A name, people and devices are needed").waitFor();
  await dialog().getByLabel("Name of the binding").fill("kiel");
  await choose("Role", "Operator");
  await dialog().getByLabel("People").fill("carl");
  await dialog().getByText("Some devices").click();
  await dialog().getByRole("textbox", { name: "Label selector" }).fill("site=kiel");
  await dialog().getByRole("region", { name: "Changes of kiel" }).getByText("is created").waitFor();
  await dialog().getByText(/reaches 1 device/).waitFor();
  assert.equal((await world.ask("GET", "/api/v1/policies/rolebindings/kiel")).status, 404, "the dry run made it");
  await dialog().getByRole("button", { name: "Give the role" }).click();
  await row("kiel").getByText("site=kiel").waitFor();
  await page.getByRole("button", { name: "Edit kiel" }).click();
  await dialog().getByText("Nothing would change").waitFor();
  await dialog().getByLabel("People").fill("carl, Not Valid!");
  await dialog().getByText("This is not accepted").waitFor();
  await dialog().getByLabel("People").fill("carl, dora@corp");
  await dialog().getByRole("region", { name: "Changes of kiel" }).getByText("changes", { exact: true }).waitFor();
  await dialog().getByRole("button", { name: "Change it" }).click();
  await row("kiel").getByText("carl, dora@corp").waitFor();
  await page.getByRole("button", { name: "Delete kiel" }).click();
  await dialog().getByRole("button", { name: "Delete kiel" }).click();
  await row("kiel").waitFor({ state: "detached" });
});

test("the table says what each role may do, from the API's own description", async () => {
  await page.getByRole("textbox", { name: "Find an action" }).fill("revoke");
  const cells = page.getByRole("region", { name: "Actions and roles" }).getByRole("row").filter({ hasText: /revokes a device/i }).getByRole("cell");
  await until("the row is there", async () => (await cells.count()) === 7);
  assert.deepEqual((await cells.allTextContents()).slice(1), ["–no", "yes", "yes", "–no", "–no", "–no"]);
});

test("an access token is made with an end, rotated with an overlap, and revoked", async () => {
  const who = async (token) => (await world.ask("GET", "/api/v1/whoami", undefined, { authorization: `Bearer ${token}` })).status;
  await go("/settings?tab=access&new=access");
  await page.getByRole("textbox", { name: "Name", exact: true }).fill("pipeline");
  await choose("Role", "Operator");
  await choose("Ends after", "30 days");
  await page.getByRole("button", { name: "Create" }).click();
  const old = await page.getByTestId("access-token").innerText();
  await page.getByRole("button", { name: "Done" }).click();
  await row("pipeline").getByText(/in (29|30) d/).waitFor();
  assert.equal(await row("pipeline").getByText("replace").count(), 0);
  assert.equal(await who(old), 200);
  await row("pipeline").getByRole("button", { name: /^Rotate/ }).click();
  await choose("The former secret counts for", "1 hour");
  await dialog().getByRole("button", { name: "Make a new secret" }).click();
  const fresh = await dialog().getByTestId("access-token").innerText();
  await dialog().getByRole("button", { name: "Done" }).click();
  await row("pipeline").getByText("former secret counts until").waitFor();
  assert.deepEqual([await who(old), await who(fresh)], [200, 200]);
  await row("pipeline").getByRole("button", { name: /^Revoke/ }).click();
  await dialog().getByRole("button", { name: /^Revoke/ }).click();
  await row("pipeline").waitFor({ state: "detached" });
  assert.deepEqual([await who(old), await who(fresh)], [401, 401]);
});

test("a token without an end is marked as to be replaced", async () => {
  await page.getByRole("button", { name: "Make an access token" }).click();
  await page.getByRole("textbox", { name: "Name", exact: true }).fill("for ever");
  await choose("Ends after", "Never");
  await page.getByRole("button", { name: "Create" }).click();
  await page.getByRole("button", { name: "Done" }).click();
  await row("for ever").getByText("It does not end by itself").waitFor();
});

test("sessions are listed with their own marked, and another is ended at once", async () => {
  await go("/settings?tab=sessions");
  await row("access token admin").getByText("this session").first().waitFor();
  await row("access token admin").getByText("Chrome on Linux").first().waitFor();
  await row("user anna").first().getByText("127.0.0.1").waitFor();
  const theirs = await row("user anna").count();
  await page.getByRole("button", { name: /^End the session of user anna/ }).first().click();
  await dialog().getByRole("button", { name: "End the session" }).click();
  await until("it is gone from the list", async () => (await row("user anna").count()) < theirs);
  for (let left = theirs - 1; left > 0; left--) {
    await page.getByRole("button", { name: /^End the session of user anna/ }).first().click();
    await dialog().getByRole("button", { name: "End the session" }).click();
    await until("the next is gone", async () => (await row("user anna").count()) < left);
  }
  await anna.getByRole("dialog", { name: "Your session has ended" }).waitFor();
});

test("the settings are worked with a keyboard, and at 360 px nothing is cut off", async () => {
  await page.setViewportSize({ width: 360, height: 740 });
  for (const tab of ["people", "roles", "access", "sessions", "me"]) {
    await go(`/settings?tab=${tab}`);
    await page.getByRole("tab", { selected: true }).waitFor();
    await page.getByRole("status", { name: "Loading" }).first().waitFor({ state: "detached" });
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth), 0, tab);
  }
  await page.getByRole("tab", { name: "My account" }).focus();
  await page.keyboard.press("ArrowLeft");
  await page.getByRole("tab", { name: "Tenants", selected: true }).waitFor();
});

test("nothing broke in the browser", () => assert.deepEqual([...page.faults, ...(anna?.faults ?? ["no page"])], []));
