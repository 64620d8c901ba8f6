// Images on the pages: pushed by the command line, seen with their layers and who shares them, tagged,
// used by workloads, not deleted as long as they are, copied from another registry with its progress
// and its failure. No container engine is needed: nothing is started.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { archive, container, group, push, sha256 } from "./image.mjs";
import { paste, until, World } from "./world.mjs";

const BASE = "the base of both\n".repeat(400);
const FIRST = archive([BASE, "first\n"]);
const SECOND = archive([BASE, "second\n"]);
const DB = archive(["a database\n"], "arm64");

let world, page, first;
before(async () => {
  world = await World.start();
  page = await world.open("/images");
});
after(async () => {
  if (page) assert.deepEqual(page.faults, []);
  await world?.end();
});

const row = (name) => page.getByRole("row", { name });
const facts = () => page.getByRole("region", { name: "Image", exact: true });
const digestOf = (pushed) => pushed.split("@")[1];

test("without an image the page says how one gets there", async () => {
  await page.getByText("No image yet").waitFor();
  await page.getByRole("link", { name: "Images", exact: true }).and(page.locator('[aria-current="page"]')).waitFor();
  await page.getByRole("button", { name: "Push an image" }).click();
  await page.getByRole("region", { name: /^In a file of docker save/ }).getByText("holdfast image push till.tar shop/till:1.4").waitFor();
  await page.getByRole("button", { name: "Close", exact: true }).click();
});

test("what is pushed appears by itself, with its size and what others share of it", async () => {
  first = push(world, "shop/till:1.4", FIRST);
  await row(/shop\/till 1\.4 .*nothing linux\/amd64 none/).waitFor();
  // Times of pushes have whole seconds: it is pushed until it is the newer one.
  const at = async (reference) => (await world.must("GET", `/api/v1/images/${encodeURIComponent(reference)}`)).pushedAt;
  await until("the second is newer", async () => push(world, "shop/till:1.5", SECOND) && (await at("shop/till:1.5")) > (await at("shop/till:1.4")));
  push(world, "db:16", DB);
  await row(/shop\/till 1\.5/).waitFor();
  // The base is one file for both.
  await row(/shop\/till 1\.4 .* KiB .* KiB linux\/amd64/).waitFor();
  await row(/db 16 .*nothing linux\/arm64 none/).waitFor();
  await page.getByText("3 images", { exact: true }).waitFor();
});

test("an image's page: digests, layers and the other images that have them, how it is pulled", async () => {
  await row(/shop\/till 1\.4/).getByRole("link", { name: "shop/till" }).click();
  await page.getByRole("heading", { name: "shop/till:1.4", exact: true }).waitFor();
  assert.match(page.url(), /\/images\/shop%2Ftill\?image=sha256/);
  await facts().getByText(digestOf(first), { exact: true }).waitFor();
  const layers = page.getByRole("region", { name: "linux/amd64" });
  await layers.getByText("2 layers").waitFor();
  await layers.getByRole("row", { name: new RegExp(`${FIRST.layers[0].slice(7, 19)} .*shop/till:1.5`) }).waitFor();
  await layers.getByRole("row", { name: new RegExp(`${FIRST.layers[1].slice(7, 19)} .*no other image`) }).waitFor();
  await page.getByText("No revision of a workload names it.").waitFor();
  await page.getByText(`docker pull ${new URL(world.url).host}/shop/till:1.4`, { exact: true }).waitFor();
  // Its address is one that can be opened, and an image that shares a layer is a click away.
  await page.reload();
  await page.getByRole("heading", { name: "shop/till:1.4", exact: true }).waitFor();
  await layers.getByRole("link", { name: "shop/till:1.5" }).click();
  await page.getByRole("heading", { name: "shop/till:1.5", exact: true }).waitFor();
  await page.getByRole("region", { name: "All images of shop/till" }).getByRole("link", { name: "1.4", exact: true }).click();
  await page.getByRole("heading", { name: "shop/till:1.4", exact: true }).waitFor();
  // Without a word: the newest. And what is gone is said.
  await page.goto(`${world.url}/images/shop%2Ftill`);
  await page.getByRole("heading", { name: "shop/till:1.5", exact: true }).waitFor();
  await page.goto(`${world.url}/images/shop%2Ftill?image=9.9`);
  await page.getByText("shop/till has no image 9.9").waitFor();
  await page.goto(`${world.url}/images/nothing`);
  await page.getByText("There is no image nothing").waitFor();
});

test("another tag, with the fault of a bad one in its place", async () => {
  await page.goto(`${world.url}/images/shop%2Ftill?image=1.4`);
  await page.getByRole("button", { name: "Tag…" }).click();
  const dialog = page.getByRole("dialog", { name: "Give it another tag" });
  const field = dialog.getByRole("textbox", { name: "Name with the tag" });
  assert.equal(await dialog.getByRole("button", { name: "Tag the image" }).isDisabled(), true);
  await field.fill("Shop/Till:stable");
  await dialog.getByRole("button", { name: "Tag the image" }).click();
  await dialog.getByText(/is not the name of an image/).waitFor();
  await field.fill("shop/till:stable");
  await field.press("Enter");
  await dialog.waitFor({ state: "detached" });
  await facts().getByText("stable", { exact: true }).waitFor();
  // A tag that the image can do without goes alone.
  await page.getByRole("button", { name: "Delete the tag 1.4" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete the tag 1.4" }).click();
  await page.getByRole("heading", { name: "shop/till:stable", exact: true }).waitFor();
  assert.deepEqual((await world.must("GET", `/api/v1/images/${encodeURIComponent(first)}`)).tags, ["stable"]);
});

test("a workload shows the image that its revision holds, and the image who uses it", async () => {
  await world.apply(container("till", "shop/till:stable"));
  await page.getByRole("region", { name: "Workloads that use it" }).getByRole("link", { name: "till" }).click();
  const card = page.getByRole("region", { name: "Container", exact: true });
  await card.getByText(digestOf(first).slice(7, 19)).waitFor();
  // The tag moves; the workload's link still leads to the image that runs.
  await world.must("POST", `/api/v1/images/${encodeURIComponent("shop/till:1.5")}/tag`, { name: "shop/till:stable" });
  await card.getByRole("link", { name: "shop/till:stable" }).click();
  await facts().getByText(digestOf(first), { exact: true }).waitFor();
  await facts().getByText("none: it is named by its digest").waitFor();
});

test("a group shows each of its containers with its image and what it waits for", async () => {
  await world.apply(group("shop", [{ name: "db", image: "db:16", health: { tcp: { port: 5432 } } }, { name: "web", image: "shop/till:1.5", after: [{ name: "db", until: "healthy" }] }]));
  await page.goto(`${world.url}/workloads/shop`);
  const card = page.getByRole("region", { name: "Containers" });
  await card.getByRole("row", { name: /^db db:16/ }).waitFor();
  await card.getByRole("row", { name: /^web shop\/till:1\.5 .*db \(healthy\)/ }).waitFor();
});

test("an image that a workload uses is not deleted, unless that is meant", async () => {
  await page.goto(`${world.url}/images/shop%2Ftill?image=${digestOf(first)}`);
  await page.getByRole("button", { name: "Delete…", exact: true }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("1 workload names it").waitFor();
  await dialog.getByRole("button", { name: /^Delete shop\/till@/ }).click();
  await dialog.getByRole("alert").getByText(/belongs to revisions of 1 workload \(till\)/).waitFor();
  // Meant: its name is typed.
  await dialog.getByRole("checkbox", { name: /^Delete it all the same/ }).check();
  const act = dialog.getByRole("button", { name: /^Delete shop\/till@/ });
  assert.equal(await act.isDisabled(), true);
  await dialog.getByRole("textbox", { name: /to confirm/ }).fill("shop/till");
  assert.equal(await act.isDisabled(), false);
  await dialog.getByRole("button", { name: "Cancel" }).click();
  // The workload ends, and it is deleted as any other.
  const { metadata } = await world.must("GET", "/api/v1/workloads/till");
  await world.must("DELETE", `/api/v1/workloads/till?resourceVersion=${metadata.resourceVersion}`);
  await page.getByText("No revision of a workload names it.").waitFor();
  await page.getByRole("button", { name: "Delete…", exact: true }).click();
  await dialog.getByRole("button", { name: /^Delete shop\/till@/ }).click();
  await page.getByRole("heading", { name: "Images", exact: true }).waitFor();
  await page.getByText("2 images", { exact: true }).waitFor();
  assert.equal((await world.ask("GET", `/api/v1/images/${encodeURIComponent(first)}`)).status, 404);
});

test("the editor has examples that the control plane accepts, and completes names of images", async () => {
  await page.goto(`${world.url}/apply`);
  const editor = page.getByRole("textbox", { name: /Documents to apply/ });
  await editor.waitFor();
  const text = () => editor.evaluate((element) => element.cmView?.view?.state.doc.toString() ?? element.innerText);
  for (const [example, name] of [["A container", "till"], ["Several containers", "shop"]]) {
    await page.getByRole("button", { name: "Insert an example" }).click();
    await page.getByRole("menuitem", { name: example }).click();
    await page.getByText("Accepted, not applied yet").waitFor();
    await page.getByRole("region", { name: `Changes of ${name}` }).waitFor();
  }
  assert.equal((await text()).includes("while true"), false, "an example that nobody touched is replaced");
  await paste(editor, "kind: Workload\nspec:\n  run:\n    container:\n      image: shop");
  await page.keyboard.press("Control+Space");
  await page.getByRole("option", { name: "shop/till:1.5" }).click();
  assert.match(await text(), /image: shop\/till:1\.5/);
  // What somebody wrote stays: the example is a further document.
  await page.getByRole("button", { name: "Insert an example" }).click();
  await page.getByRole("menuitem", { name: "A process" }).click();
  await until("both are there", async () => /image: shop[^]*---[^]*while true/.test(await text()));
  await page.getByRole("button", { name: "Discard my changes" }).click();
});

test("a copy from another registry: its progress, its way out, and its failure in the registry's words", async () => {
  await page.goto(`${world.url}/images?new=copy`);
  const from = page.getByRole("textbox", { name: "Image at the other registry" });
  await from.and(page.locator(":focus")).waitFor();
  const go = page.getByRole("button", { name: "Copy the image" });
  assert.equal(await go.isDisabled(), true);
  // Nobody listens there.
  await from.fill("127.0.0.1:9/app:1.2");
  await go.click();
  await page.getByText("Not copied: 127.0.0.1:9/app:1.2").waitFor();
  await page.getByRole("alert").getByText(/127\.0\.0\.1:9/).last().waitFor();
  await page.getByRole("alert").getByRole("button", { name: "Close" }).click();
  // Credentials that the form wants before it sends anything.
  await page.getByRole("combobox", { name: "Credentials" }).click();
  await page.getByRole("option", { name: "User and password" }).click();
  assert.equal(await go.isDisabled(), true);
  await page.getByRole("textbox", { name: "User", exact: true }).fill("ci");
  await page.getByLabel("Password or token").fill(world.token);
  // The control plane is a registry like any other: of itself it is copied under another name.
  await page.getByText("A registry with a certificate of its own").click();
  await page.getByRole("textbox", { name: /^Certificates of its authority/ }).fill((await world.must("GET", "/api/v1/about")).ca.pem);
  await from.fill(`${new URL(world.url).host}/shop/till:1.5`);
  await page.getByRole("textbox", { name: "Name here" }).fill("copied/till:1");
  await go.click();
  await page.getByText(/\/shop\/till:1\.5 is here/).waitFor();
  assert.equal(await page.getByLabel("Password or token").inputValue(), "", "a password does not stay on the page");
  await page.getByRole("link", { name: "copied/till:1" }).first().click();
  await page.getByRole("heading", { name: "copied/till:1", exact: true }).waitFor();
  await facts().getByText(`${new URL(world.url).host}/shop/till:1.5`).waitFor();
});

test("a copy under way shows how far it is on every visit, and ends when it is cancelled", async () => {
  const slow = slowRegistry();
  await new Promise((ready) => slow.listen(0, "127.0.0.1", ready));
  try {
    await page.goto(`${world.url}/images?new=copy`);
    await page.getByRole("textbox", { name: "Image at the other registry" }).fill(`127.0.0.1:${slow.address().port}/slow:1`);
    await page.getByText("A registry with a certificate of its own").click();
    await page.getByRole("checkbox", { name: /^It speaks HTTP without TLS/ }).check();
    await page.getByRole("button", { name: "Copy the image" }).click();
    const under = page.getByRole("region", { name: "Copy under way" });
    // Half of its layer has come, and no more does.
    await under.getByText(/^0 of 1 layer here, 64\.0 KiB of 128\.0 KiB fetched\./).waitFor();
    await page.getByRole("link", { name: "Workloads", exact: true }).click();
    await page.getByRole("heading", { name: "Workloads", exact: true }).waitFor();
    await page.getByRole("link", { name: "Images", exact: true }).click();
    await under.getByText(/fetched\./).waitFor();
    await under.getByRole("button", { name: "Cancel" }).click();
    await page.getByText("Cancelled. What was fetched stays for the next copy.").waitFor();
  } finally {
    slow.closeAllConnections();
    slow.close();
  }
});

/** A registry with one image, which sends half of a layer and then nothing more. */
function slowRegistry() {
  const layer = randomBytes(128 * 1024);
  const config = Buffer.from(JSON.stringify({ architecture: "amd64", os: "linux", config: {}, rootfs: { type: "layers", diff_ids: [sha256(layer)] } }));
  const part = (mediaType, bytes) => ({ mediaType, digest: sha256(bytes), size: bytes.length });
  const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json", config: part("application/vnd.oci.image.config.v1+json", config), layers: [part("application/vnd.oci.image.layer.v1.tar", layer)] }));
  return createServer(({ url }, answer) => {
    if (url === "/v2/slow/manifests/1") answer.writeHead(200, { "content-type": "application/vnd.oci.image.manifest.v1+json" }).end(manifest);
    else if (url === `/v2/slow/blobs/${sha256(config)}`) answer.writeHead(200, { "content-length": config.length }).end(config);
    else if (url === `/v2/slow/blobs/${sha256(layer)}`) answer.writeHead(200, { "content-length": layer.length }).write(layer.subarray(0, layer.length / 2));
    else answer.writeHead(url === "/v2/" ? 200 : 404).end();
  });
}

test("who may read alone sees images, and why no more", async () => {
  const viewer = await world.as("viewer", "/images/db");
  await viewer.getByRole("heading", { name: "db:16", exact: true }).waitFor();
  for (const name of ["Tag…", "Delete…"]) {
    const button = viewer.getByRole("button", { name, exact: true });
    assert.equal(await button.getAttribute("aria-disabled"), "true");
    assert.match(await button.getAttribute("title"), /needs the role operator or admin/);
  }
  await viewer.goto(`${world.url}/images?new=copy`);
  assert.match(await viewer.getByRole("button", { name: "Copy the image" }).getAttribute("title"), /needs the role operator or admin/);
  assert.deepEqual(viewer.faults, []);
  await viewer.context().close();
});
