// The world of the end-to-end tests: the real `holdfast serve`, real agents, a real browser. Every
// port is free, every folder temporary; only processes that were started here are ended.
import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import https from "node:https";
import { tmpdir } from "node:os";
import { extname, join, resolve } from "node:path";
import { chromium } from "playwright-core";

/** Where the programs are. */
export const BIN = resolve(process.env.HOLDFAST_BIN_DIR ?? join(import.meta.dirname, "../../../target/debug"));
/** Pages of a folder in the place of those inside the program: for who changes pages alone. */
const DIST = process.env.HOLDFAST_E2E_DIST;
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
/** How long a condition may take on a busy machine. */
export const PATIENCE = 30_000;

/** The control plane, optimised: what promises of speed are held to. `make scale` builds it. */
export const FAST = resolve(process.env.HOLDFAST_SCALE_BIN ?? join(BIN, "../scale/holdfast"));

for (const needed of [join(BIN, "holdfast"), join(BIN, "holdfast-agent"), CHROMIUM]) {
  if (!existsSync(needed)) throw new Error(`${needed} is not there: \`make build\` builds the programs, .ci/tools installs the browser`);
}

/** Waits until `check` gives something true; its last failure is the error. */
export async function until(what, check, patience = PATIENCE) {
  const end = Date.now() + patience;
  let last;
  for (;;) {
    try {
      const found = await check();
      if (found) return found;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`waited in vain until ${what}${last ? `: ${last.message}` : ""}`);
    await new Promise((go) => setTimeout(go, 50));
  }
}

function ended(child) {
  return new Promise((done) => (child.exitCode !== null || child.signalCode !== null ? done() : child.once("exit", done)));
}

async function end(child, signal = "SIGTERM") {
  child.kill(signal);
  const late = setTimeout(() => child.kill("SIGKILL"), 10_000);
  await ended(child);
  clearTimeout(late);
}

/** Processes whose working folder is below a folder: workloads, which start in their own. */
function below(folder) {
  return readdirSync("/proc").filter((pid) => /^\d+$/.test(pid)).filter((pid) => {
    try {
      return readlinkSync(`/proc/${pid}/cwd`).startsWith(folder);
    } catch {
      return false; // It has ended meanwhile.
    }
  }).map(Number);
}

const KINDS = { ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".json": "application/json" };

/** Answers with a file of `DIST`; a page has the nonce and the policy of the program's own. */
async function ofFolder(route) {
  const { pathname } = new URL(route.request().url());
  const file = join(DIST, pathname);
  if (extname(pathname) in KINDS) return existsSync(file) ? route.fulfill({ body: readFileSync(file), contentType: KINDS[extname(pathname)] }) : route.fulfill({ status: 404 });
  const response = await route.fetch();
  const nonce = /'nonce-([^']+)'/.exec(response.headers()["content-security-policy"] ?? "")?.[1] ?? "";
  const headers = Object.fromEntries(Object.entries(response.headers()).filter(([name]) => !["content-encoding", "content-length"].includes(name)));
  return route.fulfill({ status: 200, headers, body: readFileSync(join(DIST, "index.html"), "utf8").replaceAll("__CSP_NONCE__", nonce) });
}

/** Chooses another password where the page asks for one before anything else. */
export async function newPassword(page, present, next, again = next) {
  await page.getByLabel("Present password", { exact: true }).fill(present);
  await page.getByLabel("New password", { exact: true }).fill(next);
  await page.getByLabel("New password again", { exact: true }).fill(again);
  await page.getByRole("button", { name: "Change the password" }).click();
}

export class World {
  folder = mkdtempSync(join(tmpdir(), "holdfast-pages-"));
  agents = new Map();
  /** Passwords that replaced those that were given. */
  passwords = new Map();
  log = "";

  /** `program`: the control plane, when it is not the one of `BIN`; `config`: its configuration file. */
  static async start({ program = join(BIN, "holdfast"), config = "" } = {}) {
    const world = new World();
    world.program = program;
    world.config = world.file("holdfast.toml", config);
    // Workloads run as users of their own, who must get through to their folders.
    chmodSync(world.folder, 0o755);
    await world.serve("127.0.0.1:0", "127.0.0.1:0");
    world.browser = await chromium.launch({
      executablePath: CHROMIUM,
      args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
    });
    return world;
  }

  async serve(api, mqtt) {
    const child = spawn(this.program, ["serve", "--data", join(this.folder, "plane"), "--api", api, "--mqtt", mqtt, "--config", this.config], { stdio: ["ignore", "pipe", "pipe"] });
    this.plane = child;
    let out = "";
    child.stdout.on("data", (piece) => (out += piece));
    child.stderr.on("data", (piece) => (this.log += piece));
    const word = (name) => new RegExp(`^${name}: (.*)$`, "m").exec(out)?.[1];
    await until("holdfast serve says its addresses", () => {
      if (child.exitCode !== null) throw new Error(this.log);
      return word("ca-sha256") && word("mqtt");
    });
    this.url = word("api");
    this.mqtt = word("mqtt");
    this.ca = word("ca-sha256");
    this.token ??= word("admin-token");
    // The admin token is printed after the rest, at the first start alone.
    if (!this.token) this.token = await until("the admin token is printed", () => word("admin-token"));
    await until("it is ready", async () => (await this.ask("GET", "/readyz")).status === 200);
  }

  /** Ends the control plane; `back` starts it again at the same addresses. */
  async cut() {
    await end(this.plane);
  }

  async back() {
    await this.serve(new URL(this.url).host, this.mqtt.replace("mqtts://", ""));
  }

  /** A request with the admin token, past the browser. */
  ask(method, path, body, headers = {}) {
    return new Promise((done, fail) => {
      const bytes = body === undefined ? undefined : Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
      const request = https.request(this.url + path, { method, rejectUnauthorized: false, headers: { authorization: `Bearer ${this.token}`, "content-type": "application/json", ...(bytes ? { "content-length": bytes.length } : {}), ...headers } }, (response) => {
        const pieces = [];
        response.on("data", (piece) => pieces.push(piece));
        response.on("end", () => {
          const all = Buffer.concat(pieces);
          const isJson = (response.headers["content-type"] ?? "").startsWith("application/json");
          done({ status: response.statusCode, headers: response.headers, bytes: all, body: isJson ? JSON.parse(all.toString()) : all.toString() });
        });
        response.on("error", fail);
      });
      request.on("error", fail);
      request.end(bytes);
    });
  }

  async must(method, path, body) {
    const answer = await this.ask(method, path, body);
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  apply(...documents) {
    return this.must("POST", "/api/v1/apply", { documents });
  }

  /** Runs a line as a person would paste it on a device, whose agent keeps its things in a folder of its own. */
  async paste(line, data) {
    const child = spawn("bash", ["-c", line], { env: { ...process.env, PATH: `${BIN}:${process.env.PATH}`, HOLDFAST_AGENT_DATA: join(this.folder, data) }, stdio: ["ignore", "pipe", "pipe"] });
    let said = "";
    child.stdout.on("data", (piece) => (said += piece));
    child.stderr.on("data", (piece) => (said += piece));
    await ended(child);
    if (child.exitCode !== 0) throw new Error(`the line ended with ${child.exitCode}: ${said}`);
    return said;
  }

  run(data) {
    const child = spawn(join(BIN, "holdfast-agent"), ["run", "--data", join(this.folder, data)], { stdio: ["ignore", "ignore", "pipe"] });
    child.said = "";
    child.stderr.on("data", (piece) => (child.said += piece));
    this.agents.set(data, child);
    return child;
  }

  async stop(data) {
    const child = this.agents.get(data);
    this.agents.delete(data);
    if (child) await end(child);
  }

  /** A device that is enrolled and runs, without the browser. */
  async device(name, labels = {}, { start = true, approve = "auto" } = {}) {
    const { token } = await this.must("POST", "/api/v1/tokens", { labels, approve });
    await this.paste(`HOLDFAST_TOKEN=${token} holdfast-agent enroll --url ${this.url} --name ${name}`, name);
    if (start) {
      this.run(name);
      if (approve === "auto") await until(`${name} is online`, async () => (await this.must("GET", `/api/v1/devices/${name}`)).status.connection === "online");
    }
  }

  async page(options = {}) {
    const context = await this.browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1280, height: 800 }, ...options });
    context.setDefaultTimeout(PATIENCE);
    if (DIST) await context.route((url) => !/^\/(api|healthz|readyz|metrics)\b/.test(url.pathname), ofFolder);
    const page = await context.newPage();
    page.faults = [];
    page.on("pageerror", (error) => page.faults.push(`error: ${error.message}`));
    page.on("console", (message) => {
      // A request that was refused on purpose is no fault of the page; a broken policy is.
      if (message.type() === "error" && !/Failed to load resource|ERR_CONNECTION/.test(message.text())) page.faults.push(`${message.text()} (${message.location().url}:${message.location().lineNumber}:${message.location().columnNumber})`);
    });
    return page;
  }

  /** A page that is logged in, at a path. */
  async open(path = "/", options = {}) {
    const page = await this.page(options);
    await page.goto(this.url + path);
    await login(page, this.token);
    return page;
  }

  /** A page of a local user, at a path. The form of the login is another test's. */
  async person(user, password, path = "/", { code, ...options } = {}) {
    const page = await this.page(options);
    const known = this.passwords.get(password) ?? password;
    const answer = await page.request.post(`${this.url}/api/v1/session`, { data: { user, password: known, ...(code ? { code } : {}) } });
    if (!answer.ok()) throw new Error(`login of ${user}: ${answer.status()} ${await answer.text()}`);
    await page.goto(this.url + path);
    // One that somebody else has set is changed first.
    if ((await answer.json()).mustChange) {
      this.passwords.set(password, `${password} of one's own`);
      await newPassword(page, known, this.passwords.get(password));
    }
    await page.getByRole("navigation", { name: "Pages" }).waitFor({ state: "attached" });
    return page;
  }

  /** A page of an access token with a role, at a path. */
  async as(role, path = "/", selector) {
    const { token } = await this.must("POST", "/api/v1/access", { name: `${role}-${Math.random().toString(36).slice(2)}`, role, ...(selector ? { selector } : {}) });
    const page = await this.page();
    await page.goto(this.url + path);
    await login(page, token);
    return page;
  }

  /** A local user with the roles that these bindings give: `[role, devices]`. Gives the password. */
  async user(name, ...roles) {
    const { password } = await this.must("POST", "/api/v1/users", { name });
    let number = 0;
    for (const [role, devices = "all"] of roles) await this.apply({ apiVersion: "holdfast/v1", kind: "RoleBinding", metadata: { name: `${name}-${++number}` }, spec: { role, subjects: [name], devices } });
    return password;
  }

  async end() {
    await this.browser?.close();
    for (const name of [...this.agents.keys()]) {
      // Its workloads outlive the agent on purpose: a delete ends them, while it still runs.
      await this.must("DELETE", `/api/v1/devices/${name}`).catch(() => undefined);
    }
    await Promise.all([...this.agents.keys()].map((name) => this.stop(name)));
    await end(this.plane);
    // What an agent had no time to end before it was ended itself.
    for (const pid of below(this.folder)) {
      try {
        process.kill(pid, "SIGKILL");
      } catch (error) {
        if (error.code !== "ESRCH") throw error;
      }
    }
    rmSync(this.folder, { recursive: true, force: true });
  }

  file(name, text) {
    const path = join(this.folder, name);
    writeFileSync(path, text);
    return path;
  }
}

export async function login(page, token) {
  await page.getByRole("textbox", { name: "Access token" }).fill(token);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("navigation", { name: "Pages" }).waitFor({ state: "attached" });
}

/** A document whose program writes lines until it is ended. */
export function talker(name, script, labels = { role: "gateway" }) {
  return { apiVersion: "holdfast/v1", kind: "Workload", metadata: { name }, spec: { devices: { matchLabels: labels }, run: { process: { path: "/bin/sh", args: ["-c", script] } }, stop: { grace: "1s" } } };
}

/** Pastes a text over all that the editor holds, as a person does: by the clipboard's event. */
export async function paste(editor, text) {
  await editor.click();
  await editor.press("Control+a");
  await editor.evaluate((element, text) => {
    const clipboardData = new DataTransfer();
    clipboardData.setData("text/plain", text);
    element.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
  }, text);
}
