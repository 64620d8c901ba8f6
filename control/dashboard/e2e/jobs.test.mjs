// What an operator has done with a workload: the way back to a former revision, a restart, a pause
// and its end, on real programs; and the number that is typed before many devices are hit.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { multiply } from "./scene.mjs";
import { paste, talker, until, World } from "./world.mjs";

let world, page, duty;
before(async () => {
  world = await World.start();
  duty = await world.must("POST", "/api/v1/access", { comment: "night duty", scope: "operate" });
  await world.device("pump-1", { role: "gateway" });
  await world.apply(talker("hello", "echo one; exec sleep 1001"));
  await running("hello", 1);
  await world.apply(talker("hello", "echo two; exec sleep 1002"));
  await running("hello", 2);
  page = await world.open("/workloads/hello?tab=revisions");
});
after(async () => {
  if (page) assert.deepEqual(page.faults, []);
  await world?.end();
});

const said = async (workload) => (await world.must("GET", "/api/v1/devices/pump-1")).status.workloads[workload];
function running(workload, revision) {
  return until(`revision ${revision} of ${workload} runs`, async () => {
    const it = await said(workload);
    return it?.phase === "running" && it.revision === revision && it;
  });
}

test("the way back: any document is shown, the dry run says what changes, and a new revision runs", async () => {
  await page.getByRole("row", { name: /^2\s*current/ }).getByText("run.process.args").waitFor();
  await page.getByRole("button", { name: "Show revision 1" }).click();
  await page.getByRole("region", { name: "Document of revision 1" }).getByText("echo one").waitFor();
  await page.getByRole("button", { name: "Go back to revision 1" }).click();
  const dialog = page.getByRole("dialog", { name: "Go back to revision 1 of hello?" });
  const changes = dialog.getByRole("region", { name: "Changes of hello" });
  await changes.getByText("go to the new revision").waitFor();
  await changes.getByRole("link", { name: "pump-1" }).waitFor();
  await changes.getByText("echo one").waitFor();
  assert.equal((await said("hello")).revision, 2, "a dry run changes nothing");
  await dialog.getByRole("button", { name: "Go back to revision 1" }).click();
  await page.getByText("hello is back at the document of revision 1, as revision 3").waitFor();
  await running("hello", 3);
  await page.getByRole("row", { name: /^3\s*current/ }).waitFor();
});

test("a restart: another process, and the result in words", async () => {
  const before = await running("hello", 3);
  await page.getByRole("button", { name: "Restart…" }).click();
  const dialog = page.getByRole("dialog", { name: "Restart hello everywhere?" });
  await dialog.getByText("is stopped on 1 device and started again").waitFor();
  await dialog.getByRole("button", { name: "Restart on 1 device" }).click();
  await page.getByText("hello restarted on 1 device", { exact: true }).waitFor();
  const after = await until("another process runs", async () => {
    const it = await said("hello");
    return it.phase === "running" && it.pid !== before.pid && it;
  });
  assert.equal(after.restarts, before.restarts, "it counts as no crash");
});

test("a pause stops it, is shown with who and when, and its end starts it", async () => {
  await page.getByRole("button", { name: "Pause…" }).click();
  await page.getByRole("dialog", { name: "Pause hello everywhere?" }).getByRole("button", { name: "Pause on 1 device" }).click();
  await page.getByText("hello paused everywhere, 1 device").waitFor();
  await until("it is paused", async () => (await said("hello")).phase === "paused");
  await page.getByText("paused everywhere", { exact: true }).waitFor();
  await page.getByText(/^by \S+, /).waitFor();
  // The agent starts anew, and it stays paused.
  await world.stop("pump-1");
  world.run("pump-1");
  await until("it is back", async () => (await world.must("GET", "/api/v1/devices/pump-1")).status.connection === "online");
  assert.equal((await said("hello")).phase, "paused");
  await page.getByRole("button", { name: "Resume…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Resume on 1 device" }).click();
  await running("hello", 3);
  await page.getByRole("button", { name: "Pause…" }).waitFor();
});

test("revisions and pauses name who made them, not a token's id", async () => {
  const asDuty = { authorization: `Bearer ${duty.token}` };
  for (const [path, body] of [["/api/v1/apply", { documents: [talker("hello", "echo four; exec sleep 1004")] }], ["/api/v1/workloads/hello/pause", {}]]) {
    const answer = await world.ask("POST", path, body, asDuty);
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
  }
  await page.getByText("by night duty,").waitFor();
  await page.getByRole("row", { name: /^4\s*current.*night duty/ }).waitFor();
  assert.equal((await page.locator("main").innerText()).includes(duty.id), false, "an id tells nobody who it was");
  await world.must("POST", "/api/v1/workloads/hello/resume", {});
  await running("hello", 4);
});

test("a device that is away is named as not asked", async () => {
  await world.stop("pump-1");
  await until("it is offline", async () => (await world.must("GET", "/api/v1/devices/pump-1")).status.connection === "offline");
  await page.getByRole("button", { name: "Restart…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Restart on 1 device" }).click();
  const dialog = page.getByRole("dialog", { name: "Restart of hello everywhere" });
  await dialog.getByText("hello was restarted on 0 devices, 1 offline: not asked.").waitFor();
  await dialog.getByText("Not asked, and not restarted later").waitFor();
  await dialog.getByRole("button", { name: "Close", exact: true }).last().click();
  world.run("pump-1");
  await until("it is back", async () => (await world.must("GET", "/api/v1/devices/pump-1")).status.connection === "online");
});

test("what hits many devices wants their number typed", async () => {
  await multiply(world, "pump-1", 30, () => undefined, (number) => `unit-${number}`);
  page = await world.open("/workloads/hello");
  await page.getByRole("button", { name: "Pause…" }).click();
  const pause = page.getByRole("dialog", { name: "Pause hello everywhere?" });
  const act = pause.getByRole("button", { name: "Pause on 31 devices" });
  await act.waitFor();
  assert.equal(await act.isDisabled(), true);
  await pause.getByRole("textbox", { name: /the number of devices/ }).fill("31");
  assert.equal(await act.isDisabled(), false);
  await pause.getByRole("button", { name: "Cancel" }).click();

  await page.goto(`${world.url}/apply`);
  const editor = page.getByRole("textbox", { name: /Documents to apply/ });
  await editor.waitFor();
  await paste(editor, JSON.stringify(talker("hello", "echo three; exec sleep 1003")));
  await page.getByText("Accepted, not applied yet").waitFor();
  await page.getByRole("button", { name: "Apply", exact: true }).click();
  const dialog = page.getByRole("dialog", { name: "Apply to 31 devices at once?" });
  await dialog.getByRole("textbox").fill("30");
  assert.equal(await dialog.getByRole("button", { name: "Apply to 31 devices" }).isDisabled(), true);
  await dialog.getByRole("textbox").fill("31");
  await dialog.getByRole("button", { name: "Apply to 31 devices" }).click();
  await page.getByText("hello is changed").waitFor();
});
