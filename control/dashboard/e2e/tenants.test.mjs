// Two tenants in the pages: made with quotas, seen by the first one's admin, a world of its own for its
// own admin, and deleted with all that it has.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { login, until, World } from "./world.mjs";

let world, page, token, theirs;
before(async () => {
  world = await World.start();
  await world.device("pump-1", { site: "kiel" }, { start: false });
  page = await world.open("/settings?tab=tenants");
});
after(() => world?.end());

const card = (name, of = page) => of.getByRole("region", { name, exact: true });
const shut = async (button, why) => {
  assert.equal(await button.getAttribute("aria-disabled"), "true");
  assert.match(await button.getAttribute("title"), why);
};

test("a tenant is made with quotas; its first access token is shown once", async () => {
  await card("default").getByText("the first").waitFor();
  await page.getByRole("button", { name: "Make a tenant" }).click();
  const form = page.getByRole("dialog");
  await form.getByRole("textbox", { name: "Name" }).fill("Not A Name");
  await form.getByRole("button", { name: "Make the tenant" }).click();
  await form.getByRole("alert").waitFor();
  await form.getByRole("textbox", { name: "Name" }).fill("acme");
  await form.getByRole("textbox", { name: "Devices" }).fill("2");
  await form.getByRole("textbox", { name: "Artifacts" }).fill("20Mi");
  await form.getByRole("button", { name: "Make the tenant" }).click();
  await form.getByText("the only time that it is shown").waitFor();
  token = await form.getByTestId("access-token").innerText();
  assert.match(token, /^hfa1\./);
  await form.getByRole("button", { name: "Done" }).click();
  await card("acme").getByText("0 of 2", { exact: true }).waitFor();
  await card("acme").getByText("of 20.0 MiB").waitFor();
  assert.ok(!(await page.content()).includes(token), "the token is still on the page");
});

test("the tenant's own admin sees a control plane of its own", async () => {
  theirs = await world.page();
  await theirs.goto(`${world.url}/devices`);
  await login(theirs, token);
  await theirs.getByText(/no device/i).first().waitFor();
  assert.equal(await theirs.getByText("pump-1").count(), 0, "a device of another tenant");
  await theirs.goto(`${world.url}/devices/pump-1`);
  await theirs.getByText(/there is no device/i).first().waitFor();
  await theirs.goto(`${world.url}/settings?tab=tenants`);
  await card("acme", theirs).waitFor();
  assert.equal(await card("default", theirs).count(), 0, "it sees itself alone");
  await shut(theirs.getByRole("button", { name: "Make a tenant" }), /Only admins of the tenant that the control plane began with/);
  await shut(theirs.getByRole("button", { name: "Quotas of acme" }), /Only admins/);
});

test("people of a tenant are its own admin's, and of one name there are two", async () => {
  const ask = (path, data) => theirs.request.post(world.url + path, { data, headers: { authorization: `Bearer ${token}` } });
  for (const [make, password] of [[(data) => world.must("POST", "/api/v1/users", data), "anna of the first tenant"], [(data) => ask("/api/v1/users", data), "anna of the tenant acme"]]) await make({ name: "anna", password });
  const others = await world.page();
  const enter = (password, tenant) => others.request.post(`${world.url}/api/v1/session`, { data: { user: "anna", password, ...(tenant ? { tenant } : {}) } });
  assert.equal((await enter("anna of the tenant acme")).status(), 401);
  assert.equal((await enter("anna of the first tenant", "acme")).status(), 401);
  assert.equal((await (await enter("anna of the tenant acme", "acme")).json()).tenant, "acme");
  await theirs.goto(`${world.url}/settings?tab=people`);
  await theirs.getByRole("row").filter({ hasText: "anna" }).waitFor();
  await theirs.goto(`${world.url}/settings?tab=sessions`);
  await theirs.getByRole("cell", { name: "user anna", exact: true }).waitFor();
});

test("quotas are changed, and what is nearly used up says so", async () => {
  for (const name of ["d-1", "d-2"]) {
    const made = await (await theirs.request.post(`${world.url}/api/v1/tokens`, { data: {}, headers: { authorization: `Bearer ${token}` } })).json();
    await world.paste(`HOLDFAST_TOKEN=${made.token} holdfast-agent enroll --url ${world.url} --name ${name}`, `acme-${name}`);
  }
  await page.reload();
  await card("acme").getByText("used up", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Quotas of acme" }).click();
  const form = page.getByRole("dialog");
  assert.equal(await form.getByRole("textbox", { name: "Devices" }).inputValue(), "2");
  await form.getByRole("textbox", { name: "Devices" }).fill("50");
  await form.getByRole("button", { name: "Change the quotas" }).click();
  await card("acme").getByText("2 of 50", { exact: true }).waitFor();
});

test("a tenant is deleted with all that it has, after its name is typed", async () => {
  await page.getByRole("button", { name: "Delete acme" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText(/2 devices/).waitFor();
  await dialog.getByRole("textbox").fill("acme");
  await dialog.getByRole("button", { name: "Delete acme" }).click();
  await card("acme").waitFor({ state: "detached" });
  await until("its token counts no more", async () => (await theirs.request.get(`${world.url}/api/v1/devices`, { headers: { authorization: `Bearer ${token}` } })).status() === 401);
  await card("default").waitFor();
  assert.deepEqual(page.faults, []);
});
