// What the pages say of devices and workloads is true: what is not known is said to be unknown, what
// fails goes on failing between two restarts, and every count leads to what it counts. And the jobs of
// the device table: compare, save a view, group, write a file, and stay readable with much in it.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { talker, until, World } from "./world.mjs";

const LONG = `w-${"long-".repeat(12)}z`;
const SLEEP = "exec sleep 10000";
let world, page;

before(async () => {
  world = await World.start();
  await world.device("gw-1", { role: "gateway", site: "north" });
  await world.device("gw-2", { role: "gateway", site: "south" });
  await world.device("gw-3", { role: "gateway", site: "south" });
  await world.device("new-1", { role: "gateway", site: "north" }, { start: false });
  const many = Object.fromEntries(Array.from({ length: 38 }, (_, at) => [`key-${String(at).padStart(2, "0")}`, `value-${at}`]));
  await world.device("many-1", { role: "many", rack: "r1", ...many });
  const job = talker("job", "exit 0", { role: "many" });
  await world.apply(
    talker("hello", SLEEP),
    { ...job, spec: { ...job.spec, restart: { policy: "never" } } },
    talker("crash", "sleep 0.3; exit 1", { rack: "r1" }),
    talker("nowhere", SLEEP, { role: "nobody" }),
    talker(LONG, SLEEP, { role: "many" }),
    ...Array.from({ length: 58 }, (_, at) => talker(`a-${String(at).padStart(2, "0")}`, SLEEP, { role: "many" })),
  );
  const running = async (device, workload, state) => (await world.must("GET", `/api/v1/devices/${device}`)).status.workloads[workload]?.state === state;
  for (const device of ["gw-1", "gw-2", "gw-3"]) await until(`hello runs on ${device}`, () => running(device, "hello", "running"));
  await until("crash fails", () => running("many-1", "crash", "failing"), 90_000);
  await until("all of many-1 runs", async () => Object.values((await world.must("GET", "/api/v1/devices/many-1")).status.workloads).filter(({ state }) => state === "running").length === 59, 180_000);
  page = await world.open("/");
});
after(() => world?.end());

const go = (path) => page.goto(world.url + path);
const row = (name) => page.getByRole("row", { name: new RegExp(`\\b${name}\\b`) });
/** Pixels by which a page is wider than its window. */
const wide = (of) => of.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

test("the state of a crash loop does not change between two restarts, and the table names it", async () => {
  await go("/devices/many-1");
  const line = page.getByRole("row", { name: /^crash / });
  await line.getByText("failing", { exact: true }).waitFor();
  // Every word that the line has had, over three more restarts.
  await line.evaluate((element) => {
    window.words = new Set([element.querySelector(".hf-state").textContent]);
    new MutationObserver(() => {
      const of = [...document.querySelectorAll("tr")].find((one) => one.querySelector("a")?.textContent === "crash");
      window.words.add(of?.querySelector(".hf-state")?.textContent ?? "gone");
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  const restarts = async () => (await world.must("GET", "/api/v1/devices/many-1")).status.workloads.crash.restarts;
  const before = await restarts();
  await until("it restarted again", async () => (await restarts()) >= before + 2, 90_000);
  assert.deepEqual(await page.evaluate(() => [...window.words]), ["failing"]);
  await go("/devices?q=many");
  await row("many-1").getByText("crash failing").waitFor();
  await row("many-1").getByText("failing", { exact: true }).waitFor();
  assert.equal(await row("many-1").getByText("60/61").count(), 1);
  assert.match(await row("many-1").getByTitle("Failing: crash").first().innerText(), /failing|60\/61/);
});

test("every state, connection and item of attention says since when", async () => {
  await go("/devices");
  for (const cell of ["health", "connection"]) assert.match(await row("gw-1").locator(`.hf-v-${cell} time`).innerText(), /^\d+ (s|min)$/);
  await row("gw-1").locator(".hf-v-heardAt time").waitFor();
  assert.equal(await row("gw-1").getByText("now", { exact: true }).count(), 0);
  await go("/devices/many-1");
  await page.getByRole("row", { name: /^crash / }).locator("time").getByText(/^for /).waitFor();
  await page.locator("main").getByText(/^heard/).locator("time").waitFor();
  await go("/");
  await page.getByRole("region", { name: "Needs attention" }).getByRole("listitem").filter({ hasText: "crash" }).locator("time").first().waitFor();
});

test("enrolled and never seen is a state of its own, and no reassurance stands beside it", async () => {
  await go("/");
  await page.getByRole("link", { name: /1\s*never seen/ }).click();
  await page.getByText("1 device found").waitFor();
  assert.match(page.url(), /connection=never-seen/);
  assert.match(await row("new-1").innerText(), /never seen/);
  await go("/devices?connection=offline");
  await page.getByText("No device is like that").waitFor();
  await go("/");
  await page.getByRole("heading", { name: "Fleet", exact: true }).waitFor();
  assert.doesNotMatch(await page.locator("main").innerText(), /Nothing:|online and healthy/);
});

test("an offline site is unknown: grey, and never running on all", async () => {
  await go("/workloads");
  assert.match(await row("hello").innerText(), /3 running/);
  for (const name of ["gw-2", "gw-3"]) world.agents.get(name).kill("SIGKILL");
  await row("hello").getByText("3 unknown").waitFor();
  const said = await row("hello").innerText();
  assert.match(said, /2 running when last heard/);
  assert.match(said, /1 running/);
  assert.doesNotMatch(said, /runs on all/);
  await go("/devices?site=south");
  for (const name of ["gw-2", "gw-3"]) {
    await row(name).getByText("offline").waitFor();
    assert.equal(await row(name).locator(".hf-v-health .hf-unknown").getByText("unknown", { exact: true }).count(), 1, "its state is not grey");
    assert.equal(await row(name).getByText("?/1").count(), 1);
    assert.equal(await row(name).locator(".hf-v-workloads .hf-good, .hf-v-health .hf-good").count(), 0);
  }
  await go("/devices/gw-2");
  const line = page.getByRole("row", { name: /^hello / });
  await line.getByText("running when last heard").first().waitFor();
  assert.equal(await line.locator(".hf-unknown").getByText("unknown", { exact: true }).count(), 1);
  assert.equal(await line.locator(".hf-good").count(), 0);
  await go("/workloads/hello");
  await page.getByRole("row", { name: /gw-2/ }).getByText("running when last heard").first().waitFor();
  await go("/");
  const site = page.getByRole("region", { name: "Sites" }).getByRole("row", { name: /south/ });
  assert.equal(await site.getByText("none unhealthy").count(), 0);
  await site.getByRole("link", { name: "2 offline or never seen, south" }).click();
  await page.getByText("2 devices found").waitFor();
});

test("a job that has ended well is done, not running", async () => {
  await go("/workloads?q=job");
  await row("job").getByText("done on all 1").waitFor();
  await go("/devices/many-1");
  await page.getByRole("searchbox", { name: "Find a workload by name or state" }).fill("job");
  await page.getByRole("row", { name: /^job / }).getByText("done", { exact: true }).waitFor();
});

test("the fleet's counts lead to the workloads that they count", async () => {
  for (const [count, state, names] of [["workloads done", "done", ["job"]], ["workloads failing", "failing", ["crash"]], ["workloads unknown", "unknown", ["hello"]], ["workloads on no device", "unplaced", ["nowhere"]]]) {
    await go("/");
    const card = page.getByRole("link", { name: new RegExp(`^\\d+\\s*${count}$`) });
    const number = Number(/^\d+/.exec(await card.innerText())?.[0]);
    await card.click();
    await page.getByText(`${number} of 63 workloads`).waitFor();
    assert.equal(new URL(page.url()).searchParams.get("state"), state);
    assert.deepEqual(await page.locator("tbody tr td:first-child").allInnerTexts(), names);
    assert.equal(names.length, number);
  }
  await go("/workloads?state=running,done");
  const { workloads } = await world.must("GET", "/api/v1/fleet");
  await page.getByText(`${workloads.running + workloads.done} of 63 workloads`).waitFor();
  // And by the page's own buttons.
  await go("/workloads");
  await page.getByRole("button", { name: "1 done" }).click();
  await page.getByText("1 of 63 workloads").waitFor();
});

test("a bad address is told, and the table does not claim to be filtered", async () => {
  for (const bad of ["connection=bogus", "sort=bogus", "labels=role%3D%3D%3D", "health=bogus", "conection=offline"]) {
    await go(`/devices?${bad}`);
    const notice = page.getByRole("alert").filter({ hasText: "was ignored: the table shows all devices" });
    await notice.getByText(decodeURIComponent(bad), { exact: true }).waitFor();
    await page.getByText("5 devices", { exact: true }).waitFor();
    await row("gw-1").waitFor();
    assert.equal(await page.getByText(/devices? found/).count(), 0);
    await notice.getByRole("button", { name: "Take it out of the address" }).click();
    await notice.waitFor({ state: "detached" });
  }
  await go("/devices?connection=never-seen,bogus");
  await page.getByText("1 device found").waitFor();
  await page.getByText("the table is filtered by the rest alone").waitFor();
  await go("/workloads?state=bogus");
  await page.getByText("the list shows all workloads").waitFor();
});

test("devices are filtered by state and by what needs attention", async () => {
  await go("/devices");
  await page.getByRole("combobox", { name: "State" }).click();
  await page.getByRole("option", { name: "failing" }).click();
  await page.getByText("1 device found").waitFor();
  await row("many-1").waitFor();
  await go("/devices?attention=failing");
  await row("many-1").waitFor();
  await page.getByText("1 device found").waitFor();
});

test("the header's checkbox selects what it says, and what destroys stands apart", async () => {
  await go("/devices");
  await row("gw-1").waitFor();
  await page.getByRole("checkbox", { name: "Select the 5 devices on screen" }).check();
  const region = page.getByRole("region", { name: "Selected devices" });
  await region.getByText("5 devices selected").waitFor();
  await region.getByRole("group", { name: "Shut out or forget" }).getByRole("button", { name: "Delete 5…" }).waitFor();
  assert.equal(await region.getByRole("group").getByRole("button").count(), 2);
});

test("two devices are compared from the table, by an address", async () => {
  await go("/devices");
  await page.getByRole("checkbox", { name: "Select gw-1" }).check();
  await page.getByRole("button", { name: "Compare (select two)" }).waitFor();
  await page.getByRole("checkbox", { name: "Select many-1" }).check();
  await page.getByRole("button", { name: "Compare", exact: true }).click();
  await page.getByRole("heading", { name: "Compare two devices" }).waitFor();
  assert.match(page.url(), /\/compare\?a=gw-1&b=many-1/);
  const role = page.getByRole("region", { name: "Labels" }).getByRole("row", { name: /^role/ });
  await role.getByRole("cell", { name: "many" }).waitFor();
  assert.deepEqual([await role.getByRole("cell").allInnerTexts(), await role.getAttribute("class")], [["gateway", "many"], "hf-differs"]);
  const agent = page.getByRole("row", { name: /^Agent/ });
  assert.equal(await agent.getAttribute("class"), null, "they have the same agent");
  await page.getByRole("switch", { name: "Only differences" }).check();
  await agent.waitFor({ state: "detached" });
  assert.match(page.url(), /only=differences/);
  assert.match(await page.getByRole("region", { name: "Workloads" }).getByRole("row", { name: /^hello/ }).innerText(), /revision 1, running/);
  await go("/compare?a=gw-1&b=nobody");
  await page.getByText("There is no device nobody").waitFor();
});

test("a view is saved by name, chosen, renamed and deleted; its address alone is enough", async () => {
  await go("/devices?labels=role%3Dgateway&columns=health.agent&sort=-heardAt&group=site");
  await page.getByRole("button", { name: "Views" }).click();
  await page.getByRole("menuitem", { name: "Save this view…" }).click();
  await page.getByLabel("Name of the view").fill("Night duty");
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.getByText("The view Night duty is saved").waitFor();
  await go("/devices");
  await page.getByRole("button", { name: "Views" }).click();
  await page.getByRole("menuitem", { name: "Night duty" }).click();
  await until("the address has it", () => new URL(page.url()).search === "?columns=health.agent&group=site&labels=role%3Dgateway&sort=-heardAt");
  const address = page.url();
  await page.getByRole("button", { name: "Night duty" }).click();
  await page.getByRole("menuitem", { name: "Rename, delete or share…" }).click();
  await page.getByRole("button", { name: "Rename Night duty" }).click();
  await page.getByRole("textbox", { name: "New name of Night duty" }).fill("Gateways");
  await page.getByRole("button", { name: "Rename", exact: true }).click();
  await page.getByRole("button", { name: "Delete Gateways" }).click();
  await page.getByText("There is no view any more").waitFor();
  // A colleague, who has none of it in the browser.
  const other = await world.open("/");
  await other.goto(address);
  await other.getByText("4 devices found").waitFor();
  assert.deepEqual((await other.getByRole("columnheader").allInnerTexts()).map((text) => text.trim()).filter(Boolean), ["Name", "State", "Agent"]);
  await other.context().close();
});

test("devices are grouped by a label, with their states counted, and unfold", async () => {
  await go("/devices");
  await page.getByRole("combobox", { name: "Group by a label" }).click();
  await page.getByRole("option", { name: "By site" }).click();
  const south = page.getByRole("row", { name: /site=south/ });
  await south.getByText("2 unknown").waitFor();
  await south.getByText("2 devices").waitFor();
  const none = page.getByRole("row", { name: /no site/ });
  await none.getByText("1 failing").waitFor();
  assert.equal(await row("gw-2").count(), 0);
  await south.getByRole("button", { expanded: false }).click();
  await row("gw-2").waitFor();
  assert.equal(await row("gw-1").count(), 0);
  assert.match(page.url(), /group=site&open=south/);
  await page.reload();
  await row("gw-3").waitFor();
  await south.getByRole("button", { expanded: true }).click();
  await row("gw-3").waitFor({ state: "detached" });
});

test("the table as a file: what the filter finds, the columns that stand, every label", async () => {
  await go("/devices?labels=role&columns=health.connection.problems&sort=name");
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "CSV of 5 devices" }).click()]);
  assert.match(download.suggestedFilename(), /^devices-.*\.csv$/);
  const [head, ...lines] = readFileSync(await download.path(), "utf8").trimEnd().split("\r\n");
  const columns = head.split(",");
  assert.deepEqual(columns.slice(0, 7), ["name", "state", "state since", "failing workloads", "connection", "connection since", "problems"]);
  assert.ok(["label role", "label site", "label key-00", "label key-37"].every((column) => columns.includes(column)), head);
  assert.deepEqual(lines.map((line) => line.split(",")[0]), ["gw-1", "gw-2", "gw-3", "many-1", "new-1"]);
  const many = lines[3].split(",");
  assert.deepEqual([many[1], many[3], many[4], many[6], many[columns.indexOf("label key-37")]], ["failing", "crash", "online", "crash failing", "value-37"]);
  assert.match(many[2], /^\d{4}-\d\d-\d\dT/);
  await go("/devices?site=south");
  const [second] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "CSV of 2 devices" }).click()]);
  assert.equal(readFileSync(await second.path(), "utf8").trimEnd().split("\r\n").length, 3);
});

test("61 workloads and 40 labels stay readable: what fails first, the rest on demand, no overflow at 360 px", async () => {
  for (const width of [1440, 360]) {
    const view = await world.open("/", { viewport: { width, height: 740 } });
    await view.goto(`${world.url}/devices/many-1`);
    const card = view.getByRole("region", { name: "Workloads", exact: true });
    await card.getByRole("button", { name: "Show all 61" }).waitFor();
    const names = () => card.locator("tbody tr td:first-child").allInnerTexts();
    assert.equal((await names())[0], "crash");
    assert.equal((await names()).length, 15);
    assert.equal(await view.locator("main .hf-labels .hf-label").count(), 9);
    await view.getByRole("button", { name: "Show 32 more labels" }).click();
    assert.equal(await view.locator("main .hf-labels .hf-label").count(), 41);
    await view.getByRole("button", { name: "Show fewer labels" }).click();
    const tabs = await view.getByRole("tab", { name: "Overview" }).boundingBox();
    assert.ok(tabs.y < (width === 360 ? 620 : 320), `the tabs stand at ${tabs.y} px`);
    await card.getByRole("button", { name: "Show all 61" }).click();
    const long = card.getByRole("link", { name: LONG, exact: true });
    assert.equal(await long.getAttribute("title"), LONG);
    // The word "Log" stands in one line beside it, and with the keyboard the whole name is read.
    const log = await card.getByRole("link", { name: `Log of ${LONG}` }).boundingBox();
    assert.ok(log.height < 30, `“Log” is ${log.height} px high`);
    await long.focus();
    await view.keyboard.press("Shift+Tab");
    await view.keyboard.press("Tab");
    assert.ok(await long.evaluate((element) => element === document.activeElement && element.scrollWidth <= element.clientWidth + 1), "the name in focus is cut");
    assert.equal(await wide(view), 0, `the device page is wider than ${width} px`);
    // In the table no state is broken in two or drawn over another, and a heading is as high as its words.
    await view.goto(`${world.url}/devices`);
    for (const name of ["gw-2", "many-1", "new-1"]) {
      const states = view.getByRole("table", { name: "Devices" }).getByRole("row", { name: new RegExp(`\\b${name}\\b`) }).locator(".hf-state");
      await states.first().waitFor();
      const boxes = await Promise.all((await states.all()).map((state) => state.boundingBox()));
      for (const box of boxes) assert.ok(box.height < 28, `a state of ${name} is ${box.height} px high at ${width} px`);
      const cut = await states.evaluateAll((all) => all.filter((one) => { const { right } = one.closest("[role=cell]").getBoundingClientRect(); return one.getBoundingClientRect().right > right + 1; }).map((one) => one.textContent));
      assert.deepEqual(cut, [], `states of ${name} are cut at ${width} px`);
    }
    await view.goto(`${world.url}/devices?group=site`);
    const heading = view.getByRole("row", { name: /site=south/ });
    await heading.waitFor();
    assert.ok((await heading.boundingBox()).height < 100, "a heading has empty space");
    // And what a button says stands in it.
    const cut = await view.locator("main button .mantine-Button-label").evaluateAll((all) => all.filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.textContent));
    assert.deepEqual(cut, [], `buttons are cut at ${width} px`);
    const bar = await view.locator(".hf-bar").evaluate((bar) => bar.scrollWidth - bar.clientWidth);
    assert.equal(bar, 0, `the head of the page is wider than its place at ${width} px`);
    for (const path of ["/devices", "/devices?group=key-00", "/workloads", `/workloads/${LONG}`, "/compare?a=gw-1&b=many-1", "/"]) {
      await view.goto(world.url + path);
      await view.getByRole("status", { name: "Loading" }).first().waitFor({ state: "detached" });
      await view.locator("main").getByText(/many-1|crash|w-long|key-00=/).first().waitFor({ state: "attached" });
      assert.equal(await wide(view), 0, `${path} is wider than ${width} px`);
    }
    assert.deepEqual(view.faults, []);
    await view.context().close();
  }
});

test("the last day is counted since the control plane started, and says so", async () => {
  await go("/");
  await page.getByRole("region", { name: "Last 24 hours" }).getByText("Counted since the control plane started").waitFor();
  const trend = await world.must("GET", "/api/v1/fleet/trend");
  assert.equal(trend.everySeconds, 300);
  assert.ok(Date.parse(trend.since) <= Date.now());
});

test("nothing broke in the browser", () => assert.deepEqual(page.faults, []));
