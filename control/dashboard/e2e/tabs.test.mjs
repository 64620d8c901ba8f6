// Several tabs of one browser: one event stream at the server for all of them, every change in each,
// and when the tab that reads it is closed another takes its place.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { login, until, World } from "./world.mjs";

let world, context;
const tabs = [];
/** Requests for the stream that are open now, with the tab that asked: nothing but a request gets to the server. */
const streams = new Map();

before(async () => {
  world = await World.start();
  await world.device("pump-1", { role: "gateway" }, { start: false });
  const first = await world.page();
  context = first.context();
  context.on("request", (request) => request.url().endsWith("/api/v1/events") && streams.set(request, request.frame().page()));
  for (const over of ["requestfinished", "requestfailed"]) context.on(over, (request) => streams.delete(request));
  context.on("page", (page) => page.on("close", () => streams.forEach((of, request) => of === page && streams.delete(request))));
  await first.close();
  for (let number = 0; number < 3; number++) {
    const page = await context.newPage();
    page.faults = [];
    page.on("pageerror", (error) => page.faults.push(error.message));
    await page.goto(`${world.url}/devices`);
    if (number === 0) await login(page, world.token);
    await page.getByRole("link", { name: "pump-1", exact: true }).waitFor();
    tabs.push(page);
  }
});
after(() => world?.end());

const open = () => [...streams.values()];

async function changed(label) {
  await world.must("PATCH", "/api/v1/devices/pump-1", { labels: { wave: label } });
  for (const page of tabs) await page.getByText(`wave=${label}`).waitFor();
}

test("three tabs have one stream, and each sees what changes", async () => {
  await until("one stream is open", () => open().length === 1);
  await changed("1");
  assert.equal(open().length, 1);
  assert.equal(open()[0], tabs[0], "the first tab reads for all");
});

test("a log out in one tab is one in all, and so is the login that follows", async () => {
  const [, , third] = tabs;
  await third.getByRole("button", { name: /^Logged in as/ }).click();
  await third.getByRole("menuitem", { name: "Log out" }).click();
  for (const page of tabs.slice(0, 2)) await page.getByRole("dialog", { name: "Your session has ended" }).waitFor();
  await login(third, world.token);
  for (const page of tabs.slice(0, 2)) await page.getByRole("dialog").waitFor({ state: "detached" });
  await third.getByRole("link", { name: "pump-1", exact: true }).waitFor();
  await until("one stream is open", () => open().length === 1);
  await changed("out-and-in");
});

test("the reading tab is closed: another reads, and the rest goes on", async () => {
  await tabs.shift().close();
  await until("another tab has opened the stream", () => open().length === 1 && tabs.includes(open()[0]));
  await changed("2");
  await tabs.splice(tabs.indexOf(open()[0]), 1)[0].close();
  await until("the last tab has opened the stream", () => open().length === 1 && open()[0] === tabs[0]);
  await changed("3");
});

test("nothing broke in the browser", () => assert.deepEqual(tabs.flatMap((page) => page.faults), []));
