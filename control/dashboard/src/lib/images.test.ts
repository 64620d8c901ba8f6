import { expect, test } from "vitest";
import { chosen, containersOf, found, imageAt, isImageAt, nameOf, ofRepository, placeOfImage, platformsOf, referenceOf, sharedOf, short, suggestions } from "./images";

const D = (digit: string) => `sha256:${digit.repeat(64)}`;

test.each([
  ["shop/till", { name: "shop/till" }],
  ["shop/till:1.4", { name: "shop/till", tag: "1.4" }],
  [`shop/till:1.4@${D("a")}`, { name: "shop/till", tag: "1.4", digest: D("a") }],
  [`till@${D("a")}`, { name: "till", digest: D("a") }],
  ["registry.example:5000/shop/till", { name: "registry.example:5000/shop/till" }],
  ["registry.example:5000/till:2", { name: "registry.example:5000/till", tag: "2" }],
  ["", { name: "" }],
])("%s in its parts", (text, parts) => expect(referenceOf(text)).toEqual(parts));

test("an image has a place of its own, whatever its name has in it", () => {
  expect(imageAt("shop/till")).toEqual({ to: "/images/shop%2Ftill", search: {} });
  expect(placeOfImage("shop/till:1.4")).toEqual({ to: "/images/shop%2Ftill", search: { image: "1.4" } });
  // The digest says which it is: a tag may have moved since.
  expect(placeOfImage(`shop/till:1.4@${D("a")}`)).toEqual({ to: "/images/shop%2Ftill", search: { image: D("a") } });
  expect(short(D("a"))).toBe("aaaaaaaaaaaa");
});

const image = (name: string, digit: string, tags: string[], at: number) => ({ name, digest: D(digit), tags, pushedAt: `2026-11-2${at}T10:00:00Z` });
const ALL = [image("shop/till", "a", ["1.3"], 1), image("db", "c", ["16"], 2), image("shop/till", "b", ["1.4", "stable"], 5), image("shop/till", "e", [], 3)];

test("of a repository the newest is shown, unless the address names another", () => {
  const till = ofRepository(ALL, "shop/till");
  expect(till.map(({ digest }) => short(digest)[0])).toEqual(["b", "e", "a"]);
  expect(chosen(till, undefined)?.digest).toBe(D("b"));
  expect(chosen(till, "1.3")?.digest).toBe(D("a"));
  expect(chosen(till, D("e"))?.digest).toBe(D("e"));
  expect(chosen(till, "9")).toBeUndefined();
  expect(chosen([], undefined)).toBeUndefined();
});

test("images are found by name, tag and digest, and named for people", () => {
  expect(found(ALL, "").map(({ name, tags }) => `${name} ${tags.join(",")}`)).toEqual(["db 16", "shop/till 1.4,stable", "shop/till ", "shop/till 1.3"]);
  expect(found(ALL, "till:1.4")).toHaveLength(1);
  expect(found(ALL, "cccc")).toHaveLength(1);
  expect(ALL.map(nameOf)).toEqual(["shop/till:1.3", "db:16", "shop/till:1.4", `shop/till@${D("e")}`]);
  expect(suggestions(ALL)).toEqual(["db:16", "shop/till:1.4", "shop/till:stable", "shop/till:1.3"]);
});

test("the containers of a workload, in their order", () => {
  expect(containersOf({ run: { container: { image: "till:1" } } })).toEqual([{ image: "till:1", after: [] }]);
  const group = { containers: [{ name: "db", image: "db:16" }, { name: "web", image: "till:1", after: ["db", { name: "db", until: "healthy" }] }] };
  expect(containersOf({ run: { group } })).toEqual([
    { name: "db", image: "db:16", after: [] },
    { name: "web", image: "till:1", after: ["db", "db (healthy)"] },
  ]);
  for (const other of [undefined, null, {}, { run: { process: { path: "/bin/sh" } } }, { run: { group: { containers: "x" } } }]) expect(containersOf(other)).toEqual([]);
});

test("what is typed, and what is shared", () => {
  expect(platformsOf("linux/arm64, linux/arm/v7")).toEqual(["linux/arm64", "linux/arm/v7"]);
  expect(platformsOf("  ")).toEqual([]);
  expect(sharedOf({ size: 100, ownSize: 30 })).toBe(70);
});

test("where the name of an image stands", () => {
  expect(isImageAt(["spec", "run", "container", "image"])).toBe(true);
  expect(isImageAt(["spec", "run", "group", "containers", 0, "image"])).toBe(true);
  for (const path of [["image"], ["spec", "run", "container", "env", "image"], ["spec", "run", "container"]]) expect(isImageAt(path)).toBe(false);
});
