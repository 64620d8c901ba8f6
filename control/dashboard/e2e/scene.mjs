// A small fleet with some of everything, for axe and for the screenshots: real agents, and devices
// that came in by a backup with the states that take days to reach.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { archive, group, push } from "./image.mjs";
import { paste, talker, until } from "./world.mjs";

const FAULTY = `apiVersion: holdfast/v1
kind: Workload
metadata: { name: relay }
spec:
  devices: { matchLabels: { role: gateway } }
  run: { process: { path: /bin/sleep, args: ["1000"] } }
  restrt: { policy: always }
  resources: { memory: 12Q }
`;

/** The device's own metrics as a stream: data without a workload that publishes some. */
export const METRICS = { apiVersion: "holdfast/v1", kind: "Stream", metadata: { name: "metrics" }, spec: { devices: { matchLabels: { role: "gateway" } }, streams: ["device/metrics"], source: { metrics: { every: "1s" } } } };
export const BUDGET = { apiVersion: "holdfast/v1", kind: "LinkBudget", metadata: { name: "day" }, spec: { devices: { matchLabels: { role: "gateway" } }, per: "day", bytes: "100Mi", shares: { data: "60%" } } };

/** Where being away is normal: some of the units, for ten hours; those in Ulm for as long as they like. */
const AWAY = [
  { apiVersion: "holdfast/v1", kind: "DevicePolicy", metadata: { name: "trucks" }, spec: { devices: { matchLabels: { line: "3" } }, whenOffline: { alarmAfter: "10h" } } },
  { apiVersion: "holdfast/v1", kind: "DevicePolicy", metadata: { name: "ships" }, spec: { devices: { matchLabels: { site: "ulm" } }, whenOffline: "expected" } },
];

const binding = (name, role, subjects, devices) => ({ apiVersion: "holdfast/v1", kind: "RoleBinding", metadata: { name }, spec: { role, subjects, devices } });

/** Waits until records of a device's metrics have come. */
export function metered(world, device, records = 3) {
  return until(`${device} has sent its metrics`, async () => (await world.must("GET", `/api/v1/devices/${device}/streams`)).items.some(({ stream, received }) => stream === "device/metrics" && received >= records), 90_000);
}

export const PAGES = [
  { name: "fleet", path: "/", ready: "Changed lately" },
  { name: "devices", path: "/devices", ready: "pump-1" },
  { name: "devices-selected", path: "/devices?labels=role%3Dgateway&sort=-problems&connection=offline", ready: "unit-", act: (page) => page.getByRole("checkbox", { name: /^Select unit-/ }).first().check() },
  { name: "devices-grouped", path: "/devices?group=site&open=kiel&columns=health.connection.heardAt.workloads.problems.address.agent", ready: "site=kiel" },
  { name: "devices-bad-address", path: "/devices?connection=bogus&labels=role%3D%3D%3D", ready: "was ignored" },
  { name: "compare", path: "/compare?a=pump-1&b=pump-2", ready: "Versions and facts" },
  { name: "device", path: "/devices/pump-1", ready: "Rejected messages" },
  { name: "device-failing", path: "/devices/pump-2", ready: "Rejected messages" },
  { name: "device-streams", path: "/devices/pump-1?tab=streams&stream=device%2Fmetrics", ready: "received, 0 of them again" },
  { name: "device-no-streams", path: "/devices/unit-001?tab=streams", ready: "It has no stream yet" },
  { name: "data", path: "/data?device=pump-1&stream=device%2Fmetrics", ready: "received, 0 of them again" },
  { name: "data-records", path: "/data?device=pump-1&stream=device%2Fmetrics&view=records", ready: "received, 0 of them again", act: async (page) => { await page.getByRole("button", { name: /^Record \d+/ }).first().click(); } },
  { name: "policies", path: "/policies", ready: "metrics" },
  { name: "policies-budgets", path: "/policies?tab=budgets", ready: "100Mi a day" },
  { name: "policies-new", path: "/policies/new?kind=linkbudgets", ready: "applies to" },
  { name: "policy", path: "/policies/streams/metrics", ready: "device/metrics" },
  { name: "policy-edit", path: "/policies/linkbudgets/day?tab=edit", ready: "Nothing would change" },
  { name: "data-ask", path: "/data?tab=ask&stream=device%2Fmetrics&select=count&every=1m&by=device", ready: "Question", act: async (page) => { await page.getByRole("button", { name: "Ask", exact: true }).click(); await page.getByText("Crossed the links").waitFor(); } },
  { name: "device-logs", path: "/devices/pump-1?tab=logs&workload=hello", ready: "pressure" },
  { name: "workload-logs", path: "/workloads/hello?tab=logs&devices=pump-1,pump-2", ready: "pressure" },
  { name: "device-presence", path: "/devices/pump-1?tab=history", ready: "connected" },
  { name: "device-raw", path: "/devices/pump-1?tab=raw", ready: "holdfast/v1" },
  { name: "workloads", path: "/workloads", ready: "hello" },
  { name: "workload", path: "/workloads/hello", ready: "How it stands" },
  { name: "workload-edit", path: "/workloads/hello?tab=edit", ready: "Nothing would change" },
  { name: "workload-revisions", path: "/workloads/hello?tab=revisions", ready: "Difference" },
  { name: "workload-revision", path: "/workloads/hello?tab=revisions&show=1", ready: "Document of revision 1" },
  { name: "workload-go-back", path: "/workloads/hello?tab=revisions&back=1", ready: "go to the new revision" },
  { name: "workload-restart", path: "/workloads/hello", ready: "How it stands", act: async (page) => { await page.getByRole("button", { name: "Restart…", exact: true }).click(); await page.getByRole("dialog").getByText("started again at once").waitFor(); } },
  { name: "workload-delete", path: "/workloads/hello", ready: "How it stands", act: async (page) => { await page.getByRole("button", { name: "Delete…" }).click(); await page.getByRole("dialog").waitFor(); } },
  { name: "workload-group", path: "/workloads/shop", ready: "db (healthy)" },
  { name: "images", path: "/images", ready: "shop/till" },
  { name: "images-push", path: "/images?new=push", ready: "In a folder with an OCI layout" },
  { name: "images-copy", path: "/images?new=copy", ready: "shop/till", act: async (page) => { await page.getByText("A registry with a certificate of its own").click(); await page.getByRole("textbox", { name: "Image at the other registry" }).fill("127.0.0.1:9/app:1.2"); await page.getByRole("button", { name: "Copy the image" }).click(); await page.getByText("Not copied").waitFor(); } },
  { name: "image", path: "/images/shop%2Ftill?image=1.4", ready: "shop/till:1.5", act: (page) => page.getByText("The first time on a machine").click() },
  { name: "image-tag", path: "/images/shop%2Ftill?image=1.4", ready: "shop/till:1.5", act: async (page) => { await page.getByRole("button", { name: "Tag…" }).click(); await page.getByRole("dialog").waitFor(); } },
  { name: "image-delete", path: "/images/shop%2Ftill?image=1.4", ready: "shop/till:1.5", act: async (page) => { await page.getByRole("button", { name: "Delete…", exact: true }).click(); await page.getByRole("dialog").getByText("names it").waitFor(); } },
  { name: "device-volumes", path: "/devices/pump-1", ready: "Rejected messages", act: volumes },
  { name: "device-volumes-away", path: "/devices/unit-001?tab=volumes", ready: "Its volumes are not known now" },
  { name: "apply", path: "/apply", ready: "go to the new revision" },
  { name: "apply-faults", path: "/apply", ready: "go to the new revision", act: async (page) => { await paste(page.locator(".cm-content"), FAULTY); await page.getByText("2 faults", { exact: true }).waitFor(); } },
  { name: "enrolment", path: "/enrolment", ready: "Enrolment tokens" },
  { name: "enrolment-new", path: "/enrolment?new=token", ready: "Make the token" },
  { name: "enrolment-made", path: "/enrolment?new=token", ready: "Make the token", act: async (page) => { await page.getByRole("button", { name: "Make the token" }).click(); await page.getByRole("img", { name: /QR code/ }).waitFor(); } },
  { name: "alarms", path: "/notifications", ready: "relay fails" },
  { name: "alarms-silence", path: "/notifications", ready: "relay fails", act: async (page) => { await page.getByRole("button", { name: /^Silence: failing workload relay/ }).first().click(); await page.getByRole("dialog").waitFor(); } },
  { name: "alarms-muted", path: "/notifications?tab=silences", ready: "new switch" },
  { name: "notifications", path: "/notifications?tab=notifications", ready: "night-duty" },
  { name: "notification", path: "/notifications/night-duty", ready: "Messages waiting", act: async (page) => { await page.getByRole("button", { name: "Send a test" }).click(); await page.getByText("The test message was not delivered").waitFor(); } },
  { name: "notification-edit", path: "/notifications/night-duty?tab=edit", ready: "Nothing would change" },
  { name: "artifact", path: "/artifact", ready: "Choose a file and push it", act: async (page) => { await choose(page, "Choose a file and push it", "sensor-reader", Buffer.from("#!/bin/sh\necho pressure\n")); await page.getByText("sensor-reader is stored").waitFor(); } },
  { name: "activity", path: "/activity?show=change,device", ready: "Difference" },
  { name: "search", path: "/", ready: "Changed lately", act: async (page) => { await page.keyboard.press("Control+k"); await page.getByRole("combobox", { name: /^Search/ }).fill("pump"); await page.getByRole("option", { name: /^pump-2 / }).waitFor(); } },
  { name: "device-policies", path: "/devicepolicies", ready: "ships" },
  { name: "device-policy", path: "/devicepolicies/ships", ready: "Away as expected" },
  { name: "device-policy-edit", path: "/devicepolicies/ships?tab=edit", ready: "Nothing would change" },
  { name: "settings", path: "/settings", ready: "Certificate authority" },
  { name: "settings-people", path: "/settings?tab=people", ready: "Anna Berg" },
  { name: "settings-people-new", path: "/settings?tab=people&new=user", ready: "Make the user" },
  { name: "settings-roles", path: "/settings?tab=roles", ready: "Revokes" },
  { name: "settings-role", path: "/settings?tab=roles", ready: "kiel-night", act: async (page) => { await page.getByRole("button", { name: "Edit kiel-night" }).click(); await page.getByText("Nothing would change").waitFor(); } },
  { name: "settings-access", path: "/settings?tab=access", ready: "for setting up" },
  { name: "settings-access-new", path: "/settings?tab=access&new=access", ready: "Ends after" },
  { name: "settings-access-rotate", path: "/settings?tab=access", ready: "for setting up", act: async (page) => { await page.getByRole("button", { name: /^Rotate/ }).first().click(); await page.getByRole("dialog").getByText("gets a new secret").waitFor(); } },
  { name: "settings-sessions", path: "/settings?tab=sessions", ready: "this session" },
  { name: "settings-tenants", path: "/settings?tab=tenants", ready: "no limit" },
  { name: "settings-me", path: "/settings?tab=me", ready: "What I may do", act: async (page) => { await page.getByText(/actions allowed/).click(); } },
  { name: "settings-restore", path: "/settings", ready: "Certificate authority", act: async (page) => { await choose(page, "Choose a backup…", "holdfast-2026-11-23.tar", await backupOf(page)); await page.getByText(/made .* by holdfast/).waitFor(); } },
];

/** Volumes as a device with a container engine says them: in use and not, counted and not, and one that
 * could not be backed up. */
async function volumes(page) {
  const items = [{ workload: "till", volume: "data", bytes: 5_242_880, used: true }, { workload: "till", volume: "cache", used: false }];
  await page.route(/\/api\/v1\/devices\/pump-1\/volumes/, (route) =>
    route.request().method() === "GET" ? route.fulfill({ json: { items, metadata: {} } }) : route.fulfill({ status: 409, json: { error: { code: "conflict", message: "device pump-1: the disk is full" } } }));
  await page.getByRole("tab", { name: "Volumes" }).click();
  await page.getByRole("button", { name: "Back up till/cache" }).click();
  await page.getByText("No backup: till/cache").waitFor();
}

/** Chooses a file by a button, as a person does. */
export async function choose(page, button, name, buffer) {
  const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.getByRole("button", { name: button }).click()]);
  await chooser.setFiles({ name, mimeType: "application/octet-stream", buffer });
}

export async function settle(world, page, path, ready) {
  await page.goto(world.url + path);
  await page.getByText(ready).first().waitFor();
  await page.getByRole("status", { name: "Loading" }).first().waitFor({ state: "detached" });
  await page.evaluate(() => document.fonts.ready);
}

export async function seed(world) {
  await world.device("pump-1", { role: "gateway", site: "berlin" });
  await world.device("pump-2", { role: "gateway", site: "hamburg" });
  await world.device("scale-4", { role: "scale", site: "berlin" }, { approve: "manual" });
  await world.device("scale-5", { role: "scale", site: "hamburg" }, { approve: "manual", start: false });
  await multiply(world, "pump-2", 60, (number, record) => {
    record.device.labels = { role: number % 3 ? "gateway" : "sensor", site: ["berlin", "hamburg", "kiel", "ulm"][number % 4], line: String(number % 5) };
    if (record.report) {
      record.report.lastSeen = record.report.lastSeen - number * 700;
      record.report.workloads = [];
      if (number % 9 === 0) record.report.problems = [{ code: "disk-low", message: "less than 200 MB are left on /var" }];
    }
    if (number % 11 === 0 && record.device.certificate) record.device.certificate.notAfter = Math.floor(Date.now() / 1000) + 86_400 * 3;
  }, (number) => `unit-${String(number).padStart(3, "0")}`);
  const hello = talker("hello", "i=0; while true; do i=$((i+1)); echo \"$(date +%T) pressure $((4 + i % 3)).$((i % 10)) bar\"; sleep 1; done");
  await world.apply(hello);
  await world.apply({ ...hello, spec: { ...hello.spec, stop: { grace: "2s" }, restart: { policy: "always" } } });
  await world.apply(talker("relay", "echo starting; sleep 1; echo 'cannot reach 10.0.0.5' >&2; exit 1", { site: "hamburg" }));
  await world.apply(talker("night-job", "exit 0", { role: "nobody" }));
  const base = "what both have\n".repeat(500);
  push(world, "shop/till:1.4", archive([base, "1.4\n"]));
  push(world, "shop/till:1.5", archive([base, "1.5\n"]));
  push(world, "shop/db:16", archive(["a database\n"], "arm64"));
  await world.apply(group("shop", [{ name: "db", image: "shop/db:16", health: { tcp: { port: 5432 } } }, { name: "web", image: "shop/till:1.4", after: [{ name: "db", until: "healthy" }] }]));
  await world.apply(METRICS, BUDGET, ...AWAY);
  // Nothing listens there: its receiver is not reached.
  await world.apply({ apiVersion: "holdfast/v1", kind: "Notification", metadata: { name: "night-duty" }, spec: { devices: "all", severity: "critical", delay: "0s", to: { webhook: { url: "http://127.0.0.1:9/hooks/holdfast", secret: "a-secret-of-the-scene" } } } });
  await world.must("POST", "/api/v1/alarms/silence", { kind: "lost", labelSelector: "site=kiel", forSeconds: 14_400, note: "new switch, back at 6" });
  await world.must("POST", "/api/v1/tokens", { labels: { site: "kiel" }, uses: 20, ttlSeconds: 604_800 });
  await world.must("POST", "/api/v1/users", { name: "anna", fullName: "Anna Berg" });
  await world.must("POST", "/api/v1/users", { name: "bert" });
  await world.apply(binding("operators", "operator", ["anna"], "all"), binding("kiel-night", "viewer", ["bert", "dora@corp"], { matchLabels: { site: "kiel" } }));
  await world.must("POST", "/api/v1/access", { name: "pipeline", role: "operator", ttlSeconds: 2_592_000 });
  await world.must("POST", "/api/v1/tenants", { name: "acme", quotas: { devices: 500, artifacts: "20Gi", dataPerDay: "5Gi" } });
  await metered(world, "pump-1", 20);
  await until("hello runs on pump-1", async () => (await world.must("GET", "/api/v1/devices/pump-1")).status.workloads.hello?.phase === "running");
  await until("relay fails on pump-2", async () => (await world.must("GET", "/api/v1/devices/pump-2")).status.workloads.relay?.restarts >= 2);
}

/** A backup that is not encrypted, as the session of the page may read it. */
async function backupOf(page) {
  const at = (path) => new URL(path, page.url()).href;
  const { csrf } = await (await page.request.get(at("/api/v1/session"))).json();
  return (await page.request.post(at("/api/v1/backup/unencrypted"), { headers: { "X-CSRF-Token": csrf } })).body();
}

/**
 * Makes `count` devices of one that is there, by way of a backup and a restore: the store is a list
 * of keys and values, and every record of a device has its name at the end of its key,
 * KIND/TENANT/NAME.
 */
export async function multiply(world, like, count, change, nameOf) {
  const folder = join(world.folder, "backup");
  mkdirSync(folder, { recursive: true });
  const { bytes } = await world.ask("POST", "/api/v1/backup/unencrypted");
  writeFileSync(join(folder, "backup.tar"), bytes);
  execFileSync("tar", ["xf", "backup.tar"], { cwd: folder });
  const lines = readFileSync(join(folder, "store.ndjson"), "utf8").trim().split("\n");
  const records = lines.map((line) => JSON.parse(line));
  const models = Object.fromEntries(records.filter(({ key }) => key.endsWith(`/${like}`)).map(({ key, value }) => [key.split("/")[0], JSON.stringify(value)]));
  const [, tenant] = records.find(({ key }) => key.startsWith("device/")).key.split("/");
  const fresh = [];
  for (let number = 0; number < count; number++) {
    const name = nameOf(number);
    const record = Object.fromEntries(Object.entries(models).map(([kind, text]) => [kind, JSON.parse(text)]));
    record.device.name = name;
    record.device.publicKey = key(record.device.publicKey, number);
    if (record.device.certificate) record.device.certificate.serial = (0x1000 + number).toString(16).padStart(32, "0");
    change(number, record);
    for (const [kind, value] of Object.entries(record)) fresh.push(JSON.stringify({ key: `${kind}/${tenant}/${name}`, value }));
  }
  writeFileSync(join(folder, "store.ndjson"), `${[...lines, ...fresh].sort((a, b) => (a < b ? -1 : 1)).join("\n")}\n`);
  execFileSync("tar", ["cf", "restore.tar", "manifest.json", "authority.sealed.json", "keyring.sealed.json", "store.ndjson"], { cwd: folder });
  const answer = await world.ask("POST", "/api/v1/restore", readFileSync(join(folder, "restore.tar")), { "content-type": "application/x-tar" });
  if (answer.status !== 200) throw new Error(`restore: ${answer.status} ${JSON.stringify(answer.body)}`);
  await until("it is ready again", async () => (await world.ask("GET", "/readyz")).status === 200);
}

/** Another key: no two devices may have the same. */
function key(base64, number) {
  const bytes = Buffer.from(base64, "base64");
  bytes.writeUInt32BE(number + 1, bytes.length - 4);
  return bytes.toString("base64");
}
