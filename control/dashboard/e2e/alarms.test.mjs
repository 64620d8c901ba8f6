// Alarms out: a webhook that fails twice, a mail server, an Alertmanager of the distribution; the
// test button; acknowledging and silencing on the page and on the command line.
import assert from "node:assert/strict";
import { execFile, execFileSync, spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { BIN, paste, talker, until, World } from "./world.mjs";

const SECRET = "whsec-of-the-test";
let world, page;
/** What each receiver has: the webhook, the mail server, the Alertmanager. */
const have = {};
const children = [];

before(async () => {
  world = await World.start();
  await world.device("gw-1", { role: "gateway", site: "berlin" });
  await world.apply(talker("relay", "echo 'cannot reach 10.0.0.5' >&2; exit 7"));
  await until("relay is an alarm", async () => (await alarms()).some(({ code, state }) => code === "relay" && state === "firing"));
  page = await world.open("/notifications");
});
after(async () => {
  for (const child of children) child.kill("SIGKILL");
  await world?.end();
});

const alarms = async () => (await world.must("GET", "/api/v1/alarms")).items;
const status = async (name) => (await world.must("GET", `/api/v1/policies/notifications/${name}`)).status.delivery;
const notification = (name, to, more = {}) => ({ apiVersion: "holdfast/v1", kind: "Notification", metadata: { name }, spec: { devices: "all", severity: "critical", kinds: ["failing"], delay: "0s", groupWait: "0s", ...more, to } });

/** A receiver of webhooks that refuses the first so many messages. */
async function receiver(refuse) {
  const got = [];
  const server = http.createServer((request, response) => {
    const pieces = [];
    request.on("data", (piece) => pieces.push(piece));
    request.on("end", () => {
      const body = Buffer.concat(pieces).toString();
      got.push({ headers: request.headers, body, at: Date.now() });
      response.writeHead(got.length <= refuse ? 503 : 200).end(got.length <= refuse ? "not now" : "noted, thank you");
    });
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  server.unref();
  return { got, url: `http://127.0.0.1:${server.address().port}/hook` };
}

/** As the README shows it. */
function verified({ headers, body }) {
  const parts = Object.fromEntries(headers["x-holdfast-signature"].split(",").map((part) => part.split("=")));
  const expected = createHmac("sha256", SECRET).update(`${parts.t}.${body}`).digest("hex");
  return expected === parts.v1 && Math.abs(Date.now() / 1000 - Number(parts.t)) < 300;
}

async function freePort() {
  const server = net.createServer();
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

function start(program, args) {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  children.push(child);
  child.said = "";
  child.stdout.on("data", (piece) => (child.said += piece));
  child.stderr.on("data", (piece) => (child.errors = (child.errors ?? "") + piece));
  return child;
}

test("a webhook made on the page is told, signed, after it failed twice", async () => {
  const { got, url } = await receiver(2);
  have.hook = () => got.map(({ body }) => JSON.parse(body));
  await page.getByRole("tab", { name: "Notifications" }).click();
  await page.getByText("Nobody is told of alarms").waitFor();
  await page.getByRole("button", { name: "New notification" }).click();
  await paste(page.locator(".cm-content"), `apiVersion: holdfast/v1
kind: Notification
metadata: { name: night }
spec:
  devices: all
  severity: critical
  kinds: [failing]
  delay: 0s
  groupWait: 0s
  to: { webhook: { url: "${url}", secret: ${SECRET} } }
`);
  await page.getByText("alarms of 1 device are sent").waitFor();
  await page.getByRole("button", { name: "Apply", exact: true }).click();
  await page.getByRole("heading", { name: "night" }).waitFor();
  await page.getByText("503 Service Unavailable: not now").first().waitFor();
  await until("the third attempt is taken", () => got.length >= 3, 60_000);
  await page.getByText("reached", { exact: true }).first().waitFor();
  assert.ok(got.every(verified), "each attempt is signed");
  const bodies = got.map(({ body }) => JSON.parse(body));
  assert.equal(new Set(bodies.map(({ id }) => id)).size, 1, "the same id in each attempt");
  assert.equal(got[0].headers["x-holdfast-id"], bodies[0].id);
  const [{ status: said, severity, group, count, alarms: [first] }] = bodies;
  assert.deepEqual({ said, severity, group, count }, { said: "firing", severity: "critical", group: { site: "berlin", kind: "failing" }, count: 1 });
  assert.deepEqual([first.device, first.code], ["gw-1", "relay"]);
  const [{ told, undelivered }] = await alarms();
  assert.deepEqual([told, undelivered], [["night"], []]);
});

test("the test button shows what the receiver answers, and the secret is never shown", async () => {
  await page.getByRole("button", { name: "Send a test" }).click();
  await page.getByText(/200 OK: noted, thank you \(after/).waitFor();
  await page.getByRole("tab", { name: "Edit" }).click();
  const editor = page.locator(".cm-content");
  await editor.getByText("(hidden)").waitFor();
  await page.getByText("Nothing would change").waitFor();
  assert.ok(!(await page.content()).includes(SECRET));
  // Edited with the hidden secret, it is kept.
  await paste(editor, (await editor.innerText()).replaceAll("\n\n", "\n").replace("groupWait: 0s", "groupWait: 1s"));
  await page.getByText("Accepted, not applied yet").waitFor();
  await page.getByRole("button", { name: "Apply", exact: true }).click();
  await page.getByText("night is changed", { exact: true }).waitFor();
  const { delivered } = await world.must("POST", "/api/v1/notifications/night/test");
  assert.equal(delivered, true);
  const backup = (await world.ask("POST", "/api/v1/backup/unencrypted")).bytes.toString("latin1");
  assert.ok(!backup.includes(SECRET), "it is in no backup in the clear");
  assert.ok(backup.includes("notification/default/night"), "and the document is there");
});

test("an alarm whose message nobody took is not said to be sent", async () => {
  const port = await freePort();
  await world.apply(notification("nobody", { webhook: { url: `http://127.0.0.1:${port}/hook` } }));
  await until("an attempt has failed", async () => (await status("nobody")).failingSince);
  const [{ told, undelivered }] = await alarms();
  assert.deepEqual([told, undelivered], [["night"], ["nobody"]]);
  await page.goto(`${world.url}/notifications`);
  const row = page.getByRole("row", { name: /gw-1/ });
  await row.getByText("not delivered by nobody").waitFor();
  await row.getByText("sent by night", { exact: true }).waitFor();
  await row.getByRole("link", { name: "nobody" }).click();
  await page.getByText("not reached").first().waitFor();
  await world.must("DELETE", "/api/v1/policies/notifications/nobody");
});

test("mail goes by SMTP with STARTTLS and a login", async () => {
  const [key, cert] = ["key.pem", "cert.pem"].map((name) => join(world.folder, name));
  // Its own authority, and no CA: what names itself one is refused as a server.
  const config = world.file("mail.cnf", "[req]\ndistinguished_name=dn\nprompt=no\nx509_extensions=v3\n[dn]\nCN=mail.test\n[v3]\nsubjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n");
  execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-config", config], { stdio: "ignore" });
  const port = await freePort();
  const server = start("/usr/bin/python3", [join(import.meta.dirname, "smtp.py"), cert, key, String(port)]);
  await until("the mail server listens", () => server.said.includes("port") || assert.equal(server.exitCode, null, server.errors));
  const to = (password) => ({ email: { smtp: `smtp://127.0.0.1:${port}`, username: "holdfast", password, from: "Holdfast <holdfast@example.com>", to: ["duty@example.com", "Kim <kim@example.com>"], ca: readFileSync(cert, "utf8") } });
  await world.apply(notification("mail", to("wrong")));
  const refused = await world.must("POST", "/api/v1/notifications/mail/test");
  assert.match(refused.answer, /refused: 535/);
  await world.apply(notification("mail", to("s3cret")));
  const mails = () => server.said.trim().split("\n").slice(1).map((line) => JSON.parse(line));
  have.mails = mails;
  await until("the mail is there", () => mails().length > 0, 60_000);
  const [mail] = mails();
  assert.deepEqual([mail.from, mail.to, mail.user, mail.tls], ["holdfast@example.com", ["duty@example.com", "kim@example.com"], "holdfast", true]);
  assert.match(mail.subject, /^Critical: gw-1: relay fails/);
  assert.match(mail.text, /- gw-1: failing relay/);
  assert.match(mail.references, /@example\.com>/);
});

test("an Alertmanager shows the alert", async () => {
  const port = await freePort();
  const config = world.file("alertmanager.yml", "route: { receiver: none }\nreceivers: [{ name: none }]\n");
  const storage = join(world.folder, "alertmanager");
  mkdirSync(storage);
  const server = start("/usr/bin/prometheus-alertmanager", [`--config.file=${config}`, `--storage.path=${storage}`, `--web.listen-address=127.0.0.1:${port}`, "--cluster.listen-address="]);
  const url = `http://127.0.0.1:${port}`;
  await until("the Alertmanager is ready", async () => {
    assert.equal(server.exitCode, null, server.errors);
    return (await fetch(`${url}/-/ready`)).ok;
  });
  await world.apply(notification("prometheus", { alertmanager: { url, labels: { team: "water" } } }));
  have.alerts = async () => (await fetch(`${url}/api/v2/alerts`)).json();
  const [alert] = await until("it shows the alert", async () => {
    const all = await have.alerts();
    return all.length > 0 && all;
  }, 60_000);
  assert.deepEqual(alert.labels, { alertname: "HoldfastFailing", kind: "failing", notification: "prometheus", severity: "critical", site: "berlin", team: "water" });
  assert.match(alert.annotations.summary, /relay fails/);
  assert.equal(alert.annotations.devices, "gw-1");
  assert.equal(alert.status.state, "active");
  assert.ok(Date.parse(alert.endsAt) > Date.now(), "it ends by itself when nobody sends it again");
});

test("an alarm is acknowledged on the page with a note, and silenced, and each is ended early", async () => {
  await page.goto(`${world.url}/notifications`);
  const row = page.getByRole("row", { name: /gw-1/ });
  await row.getByRole("button", { name: /^Acknowledge/ }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("failing workload relay on gw-1").waitFor();
  await dialog.getByRole("textbox", { name: "Note" }).fill("Kim drives there");
  await dialog.getByRole("button", { name: "Acknowledge", exact: true }).click();
  await row.getByText("acknowledged").waitFor();
  await row.getByText("Kim drives there").waitFor();
  const item = (await world.must("GET", "/api/v1/fleet")).attention.find(({ code }) => code === "relay");
  assert.deepEqual([item.count, item.acknowledged], [1, 1], "counted, and counted apart");
  await page.getByRole("tab", { name: "Acknowledged and silenced" }).click();
  await page.getByRole("button", { name: "End the acknowledgement of failing workload relay on gw-1" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "End the acknowledgement" }).click();
  await page.getByText("Nothing is acknowledged or silenced.").waitFor();
  await page.getByRole("tab", { name: "Active alarms" }).click();
  await row.getByRole("button", { name: /^Silence/ }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Silence", exact: true }).click();
  await row.getByText("silenced").waitFor();
  const [silence] = (await world.must("GET", "/api/v1/silences")).items;
  const hours = (Date.parse(silence.until) - Date.parse(silence.at)) / 3_600_000;
  assert.deepEqual([silence.type, hours], ["silence", 4]);
  await world.must("DELETE", `/api/v1/silences/${silence.id}`);
  await row.getByText("firing").waitFor();
  assert.deepEqual(page.faults, []);
});

test("the command line does the same", async () => {
  const env = { ...process.env, HOLDFAST_URL: world.url, HOLDFAST_TOKEN: world.token, HOLDFAST_CA: world.ca };
  const cli = async (...args) => (await promisify(execFile)(join(BIN, "holdfast"), args, { env })).stdout;
  assert.match(await cli("get", "alarms"), /critical +failing +relay +gw-1 .* firing/);
  assert.match(await cli("ack", "--device", "gw-1", "--note", "on it"), /^1 alarm acknowledged until they end/);
  assert.match(await cli("get", "alarms", "gw-1", "-o", "wide"), /acknowledged .*on it/);
  assert.match(await cli("silence", "-l", "site=berlin", "--for", "2h"), /silenced until/);
  const silences = (await world.must("GET", "/api/v1/silences")).items;
  assert.equal(silences.length, 2);
  for (const { id } of silences) assert.match(await cli("delete", "silence", id), /deleted/);
  assert.match(await cli("get", "notifications"), /night +webhook +critical/);
  assert.match(await cli("describe", "notification", "night"), /alarms of 1 device to http:/);
  assert.match(await cli("notification", "test", "night"), /^delivered in \d+ ms: 200 OK/);
  assert.ok(!(await cli("get", "notification", "night", "-o", "yaml")).includes(SECRET));
  const { sent } = await status("night");
  assert.ok(sent >= 1);
  const metrics = (await world.ask("GET", "/metrics")).body;
  assert.match(metrics, /^holdfast_notifications_sent_total [1-9]/m);
  assert.match(metrics, /^holdfast_notifications_failed_total [1-9]/m);
  assert.match(metrics, /^holdfast_alarms\{severity="critical",state="firing",tenant="default"\} 1$/m);
});

test("the end of an alarm is told to each receiver", async () => {
  await world.must("DELETE", "/api/v1/workloads/relay");
  await until("no alarm is left", async () => (await alarms()).length === 0);
  await until("the webhook has it", () => have.hook().at(-1).status === "resolved", 60_000);
  const { group, count, alarms: [first] } = have.hook().at(-1);
  assert.deepEqual([group, count, first.device, first.code], [{ site: "berlin", kind: "failing" }, 0, "gw-1", "relay"]);
  await until("the mail has it", () => /^Resolved: gw-1/.test(have.mails().at(-1).subject), 60_000);
  await until("the Alertmanager shows none", async () => (await have.alerts()).length === 0, 60_000);
  await page.goto(`${world.url}/notifications`);
  await page.getByText("No alarm is active.").waitFor();
});
