// Logs as operators use them: times, search, wrap, copy, download, ranges, previous runs, several
// devices, colours; a device that hangs, and a link that breaks.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { BIN, talker, until, World } from "./world.mjs";

const COUNTING = (text) => `i=0; while true; do i=$((i+1)); echo "${text} $i"; sleep 0.5; done`;
/** Colours, a background, what steers a terminal, markup, and a line that is long. */
const COLOURFUL = "printf '\\033[31mred\\033[0m plain \\033[41;37m FATAL \\033[0m\\033[2J\\033]0;title\\007\\n<b>bold</b> <script>alert(1)</script>\\n'; printf 'long %0500d end\\n' 7; for n in 1 2 3 4 5; do echo \"needle $n in hay\"; echo hay; done; sleep 10000";

let world, page;
before(async () => {
  world = await World.start();
  await Promise.all([world.device("gw-1", { role: "gateway" }), world.device("gw-2", { role: "gateway" })]);
  await world.apply(
    talker("count", COUNTING("line")),
    talker("colourful", COLOURFUL),
    talker("crash", "echo run begins; echo 'no such port' >&2; exit 3"),
    talker("flood", `echo waits; until [ -e ${join(world.folder, "go")} ]; do sleep 0.1; done; i=0; while [ $i -lt 60000 ]; do i=$((i+1)); echo flood $i; done; echo over; sleep 10000`),
  );
  page = await world.open("/devices/gw-1?tab=logs&workload=count", { permissions: ["clipboard-read", "clipboard-write"] });
});
after(() => world?.end());

const log = (name) => (name ? page.getByRole("log", { name }) : page.getByRole("log"));
const go = async (path) => {
  await page.goto(world.url + path);
  await page.getByRole("navigation", { name: "Pages" }).waitFor({ state: "attached" });
};
const search = () => new URL(page.url()).searchParams;
const lines = async (name) => (await log(name).innerText()).trim().split("\n");
const status = (text) => page.getByRole("status").getByText(text, { exact: true });

test("lines have their times, which can be switched off; green only after the device's first word", async () => {
  await log().getByText(/line 3$/).waitFor();
  await status("following").waitFor();
  const times = await log().locator("time").evaluateAll((all) => all.map((one) => [Date.parse(one.dateTime), one.title]));
  assert.ok(times.every(([at, title]) => Math.abs(Date.now() - at) < 120_000 && /202\d/.test(title)), JSON.stringify(times.slice(0, 3)));
  await page.getByRole("switch", { name: "Times" }).click();
  await until("the times are gone", async () => (await log().locator("time").count()) === 0);
  assert.equal(search().get("times"), "off");
  await page.getByRole("switch", { name: "Times" }).click();
});

test("search: matches are marked and counted, next and previous go round, matches only", async () => {
  await go("/devices/gw-1?tab=logs&workload=colourful");
  await log().getByText("needle 5 in hay").waitFor();
  const field = page.getByRole("searchbox", { name: "Search in the log" });
  await field.fill("NEEDLE");
  await page.getByText("5 lines", { exact: true }).waitFor();
  assert.equal(await log().locator("mark").count(), 5);
  await field.press("Enter");
  await page.getByText("5 of 5 lines").waitFor();
  await page.getByRole("button", { name: "Next", exact: true }).click();
  await page.getByText("1 of 5 lines").waitFor();
  assert.match(await log().locator("[aria-current=true]").innerText(), /needle 1 in hay/);
  await page.getByRole("button", { name: "Previous", exact: true }).click();
  await page.getByText("5 of 5 lines").waitFor();
  await page.getByRole("switch", { name: "Matches only" }).click();
  await until("only matches are shown", async () => (await lines()).length === 5);
  assert.deepEqual([search().get("find"), search().get("only")], ["NEEDLE", "on"]);
  await page.reload();
  await until("the address has it all", async () => (await lines()).length === 5 && (await log().locator("mark").count()) === 5);
  await field.fill("");
});

test("colours are colours or gone; nothing steers, nothing is markup; long lines wrap or do not", async () => {
  await log().locator(".hf-ansi-red").getByText("red", { exact: true }).waitFor();
  assert.equal(await log().locator(".hf-ansi-on-red").innerText(), " FATAL ");
  const text = await log().innerText();
  assert.match(text, /red plain {2}FATAL \n/);
  assert.match(text, /<b>bold<\/b> <script>alert\(1\)<\/script>/);
  assert.doesNotMatch(text, /[\u0000-\u0008\u001b\u0007]/);
  await page.getByRole("switch", { name: "Colours" }).click();
  await until("the colours are gone", async () => (await log().locator(".hf-ansi-red").count()) === 0);
  const wide = () => log().evaluate((box) => box.scrollWidth > box.clientWidth + 5);
  assert.equal(await wide(), false, "a wrapped line is as wide as the pane");
  await page.getByRole("switch", { name: "Wrap" }).click();
  await until("long lines go on to the right", wide);
  assert.deepEqual([search().get("colours"), search().get("wrap")], ["off", "off"]);
});

test("copy: all of it with its times, and what is selected without", async () => {
  await page.getByRole("button", { name: "Copy all" }).click();
  await page.getByText("Copied").first().waitFor();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  assert.match(copied, /^202\d-\d\d-\d\dT\d\d:\d\d:\d\dZ needle 1 in hay$/m);
  assert.match(copied, /<b>bold<\/b>/);
  await log().evaluate((box) => {
    const find = (text) => [...box.querySelectorAll("[data-id]")].find((row) => row.textContent.includes(text));
    const selection = document.getSelection();
    selection.setBaseAndExtent(find("needle 2"), 0, find("needle 4"), find("needle 4").childNodes.length);
  });
  await page.keyboard.press("Control+c");
  assert.equal((await page.evaluate(() => navigator.clipboard.readText())).trim(), "needle 2 in hay\nhay\nneedle 3 in hay\nhay\nneedle 4 in hay");
  await page.evaluate(() => document.getSelection().removeAllRanges());
});

async function download() {
  const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download" }).click()]);
  return [file.suggestedFilename(), readFileSync(await file.path(), "utf8")];
}

test("download: the chosen range, byte for byte; ranges by lines and by time", async () => {
  await go("/devices/gw-1?tab=logs&workload=colourful&times=off&tail=100");
  await log().getByText("needle 5 in hay").waitFor();
  const [name, text] = await download();
  assert.match(name, /^colourful-gw-1-202\d-.*\.log$/);
  assert.ok(text.startsWith("\u001b[31mred\u001b[0m plain") && text.endsWith("needle 5 in hay\nhay\n"), text.slice(0, 60));
  await page.getByRole("combobox", { name: "Range" }).click();
  await page.getByRole("option", { name: "Last 5 minutes" }).click();
  await until("the address says since", () => search().get("since") === "5m");
  await log().getByText("needle 5 in hay").waitFor();
  await page.getByRole("combobox", { name: "Range" }).click();
  await page.getByRole("option", { name: "From … to …" }).click();
  // All of it was written after this.
  await page.getByLabel("To", { exact: true }).fill("2026-01-01T00:00:00");
  await page.getByLabel("From", { exact: true }).fill("2025-01-01T00:00:00");
  await page.getByText("It has written nothing in this range.").waitFor();
  await status("complete").waitFor();
  assert.equal((await download())[1], "");
});

test("the previous run of a crash loop", async () => {
  await until("it crashed thrice", async () => (await world.must("GET", "/api/v1/devices/gw-1")).status.workloads.crash?.restarts >= 3, 60_000);
  await go("/devices/gw-1?tab=logs&workload=crash&times=off");
  await page.getByRole("combobox", { name: "Run" }).click();
  await page.getByRole("option", { name: "Previous run", exact: true }).click();
  await status("complete").waitFor();
  assert.deepEqual(await lines(), ["run begins", "no such port"]);
  assert.equal(search().get("run"), "1");
  assert.equal((await download())[1], "run begins\nno such port\n");
});

test("two devices of a workload: side by side, and merged by time with the device's name", async () => {
  await go("/workloads/count?tab=logs");
  await log("Log of count on gw-1").getByText(/line \d+/).first().waitFor();
  await log("Log of count on gw-2").getByText(/line \d+/).first().waitFor();
  const [one, two] = await Promise.all(["gw-1", "gw-2"].map((name) => log(`Log of count on ${name}`).boundingBox()));
  assert.ok(one.y === two.y && one.x !== two.x, "they do not stand beside one another");
  await page.setViewportSize({ width: 390, height: 800 });
  await until("one stands below the other", async () => (await log("Log of count on gw-2").boundingBox()).y > (await log("Log of count on gw-1").boundingBox()).y);
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.getByText("Merged by time").click();
  const both = log("Log of count on gw-1, gw-2");
  await both.getByText("gw-2").first().waitFor();
  await both.getByText("gw-1").first().waitFor();
  const times = await both.locator("[data-id] time").evaluateAll((all) => all.map((one) => Date.parse(one.dateTime)));
  assert.deepEqual(times, [...times].sort((a, b) => a - b), "they are not in the order of their times");
  const [, text] = await download();
  assert.match(text, /^\S+Z gw-1 line \d+$/m);
  assert.match(text, /^\S+Z gw-2 line \d+$/m);
});

test("scrolling one moves the other to the same time", async () => {
  await go("/workloads/count?tab=logs&devices=gw-1,gw-2");
  const top = (name) => log(`Log of count on ${name}`).evaluate((box) => {
    const row = [...box.querySelectorAll("[data-id]")].find((one) => one.getBoundingClientRect().bottom > box.getBoundingClientRect().top + 1);
    return Date.parse(row.querySelector("time").dateTime) / 1000;
  });
  await until("there is something to scroll", async () => (await log("Log of count on gw-1").evaluate((box) => box.scrollHeight > box.clientHeight * 1.5)), 60_000);
  await log("Log of count on gw-1").hover();
  await page.mouse.wheel(0, -300);
  await page.getByRole("button", { name: "Follow the end" }).waitFor();
  await until("both show the same time", async () => Math.abs((await top("gw-1")) - (await top("gw-2"))) <= 1);
});

const cli = (...words) => {
  const child = spawn(join(BIN, "holdfast"), words, { env: { ...process.env, HOLDFAST_CONFIG: join(world.folder, "cli"), HOLDFAST_URL: world.url, HOLDFAST_TOKEN: world.token, HOLDFAST_CA: world.ca } });
  child.out = child.err = "";
  child.stdout.on("data", (piece) => (child.out += piece));
  child.stderr.on("data", (piece) => (child.err += piece));
  return child;
};

test("a device that hangs: asked, no answer yet, in the page and on the command line; it goes on where it was", async () => {
  await go("/devices/gw-1?tab=logs&workload=count");
  await log().getByText(/line \d+/).first().waitFor();
  world.agents.get("gw-1").kill("SIGSTOP");
  let asked;
  try {
    await page.getByRole("tab", { name: "Overview" }).click();
    await page.getByRole("tab", { name: "Logs" }).click();
    await status("asked, no answer yet").waitFor();
    asked = cli("logs", "-f", "gw-1", "count", "--tail", "3");
    await page.locator("span.hf-kind").getByText(/^for 1\d s$/).or(page.locator("span.hf-kind", { hasText: /^for 1\d s$/ })).first().waitFor();
    await page.getByText("last heard").waitFor();
    assert.equal(await page.getByText("following", { exact: true }).count(), 0);
    assert.equal(await page.getByText("It has written nothing").count(), 0, "nothing is known of what it wrote");
    await until("the command line tells of it", () => asked.err.includes("asked gw-1, no answer yet for 12 s"));
    assert.equal(asked.out, "");
    world.agents.get("gw-1").kill("SIGCONT");
    await status("following").waitFor();
    await until("the command line goes on", () => /line \d+/.test(asked.out) && asked.err.includes("gw-1 answers"));
    asked.kill();
  } finally {
    asked?.kill();
    world.agents.get("gw-1").kill("SIGCONT");
  }
});

test("a device that hangs while it is followed: said with the time of its last answer, and gone on with", async () => {
  await status("following").waitFor();
  await log().getByText(/line \d+/).first().waitFor();
  world.agents.get("gw-1").kill("SIGSTOP");
  try {
    await status("the device does not answer").waitFor({ timeout: 45_000 });
    await page.getByText(/^for \d+ s, last answer/).waitFor();
  } finally {
    world.agents.get("gw-1").kill("SIGCONT");
  }
  await status("following").waitFor();
});

/** What a page shows of the counting log: its numbers, each after the one before. */
async function gapless() {
  const numbers = (await lines()).map((line) => /line (\d+)$/.exec(line)).filter(Boolean).map((found) => Number(found[1]));
  assert.ok(numbers.every((number, index) => index === 0 || number === numbers[index - 1] + 1), numbers.join(" "));
  return numbers;
}

test("after an outage the pane is kept and goes on where it was", async () => {
  const before = await gapless();
  await log().evaluate((box) => {
    const count = () => (window.least = Math.min(window.least ?? Infinity, box.querySelectorAll("[data-id]").length));
    new MutationObserver(count).observe(box, { childList: true, subtree: true });
    count();
  });
  await world.cut();
  await page.getByRole("status").getByText(/interrupted/).waitFor();
  assert.ok((await gapless()).length >= before.length, "the pane was emptied");
  await world.back();
  await status("following").waitFor();
  await until("it goes on", async () => (await gapless()).at(-1) > before.at(-1) + 3);
  await gapless();
  assert.ok((await page.evaluate(() => window.least)) >= Math.min(before.length, 20), "it was emptied and filled anew");
});

test("an offline device: when it was last heard; back online it goes on", async () => {
  const last = (await gapless()).at(-1);
  await world.stop("gw-1");
  await status("offline: its log can be read when it is back").waitFor();
  await page.getByText("last heard").first().waitFor();
  assert.ok((await gapless()).length > 0, "the pane was emptied");
  world.run("gw-1");
  await status("following").waitFor();
  await until("it goes on", async () => (await gapless()).at(-1) > last);
});

test("a flood of lines freezes nothing, is bounded, and what was dropped is said", async () => {
  await page.evaluate(() => {
    window.longest = 0;
    let before = performance.now();
    const look = () => {
      const now = performance.now();
      window.longest = Math.max(window.longest, now - before);
      before = now;
      setTimeout(look, 10);
    };
    look();
  });
  await page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name: "Devices" }).click();
  await page.getByRole("link", { name: "gw-2" }).click();
  await page.getByRole("tab", { name: "Logs" }).click();
  await page.getByRole("combobox", { name: "Workload" }).click();
  await page.getByRole("option", { name: "flood" }).click();
  await log().getByText(/waits$/).waitFor();
  world.file("go", "");
  await log().getByText(/over$/).waitFor({ timeout: 60_000 });
  assert.ok((await log().locator("[data-id]").count()) < 400, "all lines are drawn");
  await page.getByText(/older lines came before|bytes of the log were cut/).first().waitFor();
  assert.ok((await page.evaluate(() => window.longest)) < 1_000, `the page stood still for ${await page.evaluate(() => window.longest)} ms`);
});

test("nothing broke in the browser", () => assert.deepEqual(page.faults, []));
