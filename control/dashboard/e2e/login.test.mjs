// Both kinds of login of people, in a real browser and on the command line: local users (password to
// be changed, second factor), and an identity provider (code with PKCE, device flow), which changes
// its keys and goes away.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { IdentityProvider, logInAt } from "./provider.mjs";
import { BIN, login, until, World } from "./world.mjs";

let world;
let corp;
/** When the keys of the provider were fetched for the first time. */
let fetched;
/** Anna's page, by the provider. */
let annas;

const inside = (page) => page.getByRole("navigation", { name: "Pages" }).waitFor({ state: "attached" });
const by = (page) => page.getByRole("link", { name: "Continue with corp" });
const session = (page) => page.evaluate(async () => (await fetch("/api/v1/session")).json());

before(async () => {
  world = await World.start();
  corp = new IdentityProvider({ groups: { anna: ["dev", "ops"], bob: ["guests"] }, callback: `${world.url}/api/v1/login/corp/callback` });
  await corp.start();
});

after(async () => {
  await world?.end();
  await corp?.stop().catch(() => undefined);
});

test("a local user logs in by name, and chooses another password first", async () => {
  await world.must("POST", "/api/v1/users", { name: "carla", password: "set by an admin" });
  await world.apply({ apiVersion: "holdfast/v1", kind: "RoleBinding", metadata: { name: "readers" }, spec: { role: "viewer", subjects: ["carla"], devices: "all" } });
  const page = await world.page();
  await page.goto(world.url);
  await page.getByRole("radio", { name: "Name and password" }).check();
  await page.getByRole("textbox", { name: "Name" }).fill("carla");
  await page.getByRole("textbox", { name: "Password" }).fill("wrong words here");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("alert").getByText("The name or the password is wrong").waitFor();
  await page.getByRole("textbox", { name: "Password" }).fill("set by an admin");
  await page.getByRole("button", { name: "Log in" }).click();
  const fresh = page.getByRole("textbox", { name: "New password", exact: true });
  await fresh.fill("words of my own");
  await page.getByRole("textbox", { name: "New password again" }).fill("other words");
  await page.getByRole("button", { name: "Change the password" }).click();
  await page.getByText("The two new passwords differ").waitFor();
  await page.getByRole("textbox", { name: "New password again" }).fill("words of my own");
  await page.getByRole("button", { name: "Change the password" }).click();
  await inside(page);
  assert.equal((await session(page)).operator, "user carla");
  // The second factor, as the pages' settings set it up.
  const post = (path, body) => page.evaluate(async ([path, body]) => {
    const { csrf } = await (await fetch("/api/v1/session")).json();
    const answer = await fetch(path, { method: "POST", headers: { "content-type": "application/json", "x-csrf-token": csrf }, body: JSON.stringify(body) });
    return answer.status === 204 ? undefined : answer.json();
  }, [path, body]);
  const made = await post("/api/v1/me/second-factor", { password: "words of my own" });
  assert.ok(made.secret, JSON.stringify(made));
  assert.equal(await post("/api/v1/me/second-factor/confirm", { code: code(made.secret) }), undefined);
  const used = Math.floor(Date.now() / 30_000);
  const other = await world.page();
  await other.goto(world.url);
  await other.getByRole("radio", { name: "Name and password" }).check();
  await other.getByRole("textbox", { name: "Name" }).fill("carla");
  await other.getByRole("textbox", { name: "Password" }).fill("words of my own");
  await other.getByRole("button", { name: "Log in" }).click();
  await other.getByText("This user has a second factor").waitFor();
  await until("the next code counts", () => Math.floor(Date.now() / 30_000) > used, 40_000);
  await other.getByRole("textbox", { name: "Code" }).fill(code(made.secret));
  await other.getByRole("button", { name: "Log in" }).click();
  await inside(other);
  assert.deepEqual([...page.faults, ...other.faults], []);
});

/** The code of an authenticator program, for a secret in base32. */
function code(secret) {
  const bits = [...secret.replaceAll(/[^A-Z2-7]/g, "")].map((sign) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(sign).toString(2).padStart(5, "0")).join("");
  const bytes = Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000)));
  const mac = createHmac("sha1", bytes).update(step).digest();
  const at = mac[19] & 15;
  return String((mac.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

test("a person of the identity provider logs in and comes back to the page", async () => {
  await world.apply(corp.document("corp", [{ claim: "groups", value: "ops", role: "operator", devices: "all" }]));
  annas = await world.page();
  await annas.goto(`${world.url}/devices`);
  await by(annas).click();
  fetched = Date.now();
  await logInAt(annas, "anna");
  await inside(annas);
  assert.equal(new URL(annas.url()).pathname, "/devices");
  assert.equal(new URL(annas.url()).search, "", "no code stays in the address");
  const found = await session(annas);
  assert.equal(found.operator, "user anna@corp");
  assert.deepEqual(found.roles, ["operator"]);
  const life = Date.parse(found.expiresAt) - Date.now();
  assert.ok(life > 7.9 * 3_600_000 && life <= 8 * 3_600_000, `it ends after 8 hours: ${life}`);
  const who = await annas.evaluate(async () => (await fetch("/api/v1/whoami")).json());
  assert.deepEqual(who.grants.map(({ by }) => by), ["provider corp: groups=ops"]);
  const cookies = Object.fromEntries((await annas.context().cookies()).map((cookie) => [cookie.name, cookie]));
  const { httpOnly, secure, sameSite } = cookies["__Host-holdfast"];
  assert.deepEqual({ httpOnly, secure, sameSite }, { httpOnly: true, secure: true, sameSite: "Strict" });
  assert.equal(cookies["__Host-holdfast-login"], undefined, "the ticket is used up");
  await annas.reload();
  await inside(annas);
  assert.deepEqual(annas.faults, [], "the pages' policy lets all of it pass");
});

test("who fits no rule is told which claims were seen, and is not let in", async () => {
  const page = await world.page();
  await page.goto(world.url);
  await by(page).click();
  await logInAt(page, "bob");
  await page.getByRole("alert").getByText("bob@corp has no role").waitFor();
  const said = await page.getByRole("alert").innerText();
  assert.match(said, /identity provider corp: .*groups = guests/);
  assert.equal(await page.evaluate(async () => (await fetch("/api/v1/session")).status), 401);
  await page.reload();
  await by(page).waitFor();
  assert.equal(await page.getByRole("alert").count(), 0, "it is said once");
});

test("an answer to another browser's login is refused", async () => {
  const page = await world.page();
  await page.goto(`${world.url}/api/v1/login/corp/callback?code=stolen&state=other`);
  await page.getByRole("alert").getByText("this browser has begun no login here").waitFor();
});

/** Runs `holdfast` with a configuration folder of its own. */
function cli(...args) {
  const env = { PATH: process.env.PATH, XDG_CONFIG_HOME: join(world.folder, "cli") };
  const child = spawn(join(BIN, "holdfast"), args, { env, stdio: ["ignore", "pipe", "pipe"] });
  const run = { out: "", err: "", code: undefined };
  child.stdout.on("data", (piece) => (run.out += piece));
  child.stderr.on("data", (piece) => (run.err += piece));
  run.ended = new Promise((done) => child.once("exit", (code) => done((run.code = code))));
  return run;
}

test("the command line logs in by a code that is typed in elsewhere", async () => {
  const run = cli("login", world.url, "--provider", "corp", "--ca-sha256", world.ca);
  const [, address, typed] = await until("it says code and address", () => {
    assert.equal(run.code, undefined, run.err);
    return /^open (\S+) and type in (\S+)$/m.exec(run.out);
  });
  assert.ok(address.startsWith(corp.issuer));
  const page = await world.page();
  await page.goto(address);
  await page.locator("input[name=user_code]").fill(typed);
  await page.getByRole("button", { name: "Continue" }).click();
  await page.getByRole("button", { name: "Continue" }).click();
  await logInAt(page, "anna");
  assert.equal(await run.ended, 0, run.err);
  assert.match(run.out, /logged in to \S+ as user anna@corp \(operator\) until /);
  const who = cli("auth", "whoami");
  assert.equal(await who.ended, 0, who.err);
  assert.match(who.out, /user anna@corp/);
  assert.match(who.out, /provider corp: groups=ops/);
  const may = cli("get", "devices");
  assert.equal(await may.ended, 0, may.err);
  const not = cli("user", "create", "mallory");
  assert.notEqual(await not.ended, 0);
  assert.match(not.err, /needs the role admin/);
});

test("new keys of the provider end no session, and count for the next login", async () => {
  await corp.stop();
  await corp.start();
  assert.equal((await session(annas)).operator, "user anna@corp");
  // Keys are fetched again for an unknown one, at most each minute.
  await until("the keys may be fetched again", () => Date.now() - fetched > 61_000, 70_000);
  const page = await world.page();
  await page.goto(world.url);
  await by(page).click();
  await logInAt(page, "anna");
  await inside(page);
});

test("a provider that is down ends no session, and its login says so; tokens go on", async () => {
  await corp.stop();
  // What it says of itself is kept for ten seconds.
  await new Promise((go) => setTimeout(go, 10_500));
  const page = await world.page();
  await page.goto(world.url);
  await by(page).click();
  await page.getByRole("alert").getByText("identity provider corp cannot be asked").waitFor();
  assert.match(await page.getByRole("alert").innerText(), /nothing listens there/);
  assert.equal((await session(annas)).operator, "user anna@corp");
  await login(page, world.token);
  const run = cli("login", "--provider", "corp");
  assert.notEqual(await run.ended, 0);
  assert.match(run.err, /identity provider corp cannot be asked/);
  assert.deepEqual(page.faults, []);
});

test("the secret is shown to nobody and lies nowhere in the clear", async () => {
  const { spec } = await world.must("GET", "/api/v1/policies/identityproviders/corp");
  assert.equal(spec.clientSecret, "(hidden)");
  await world.apply({ apiVersion: "holdfast/v1", kind: "IdentityProvider", metadata: { name: "corp" }, spec });
});
