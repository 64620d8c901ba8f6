import { expect, test } from "vitest";
import { address, fault, LONGEST, MOST, put, read, remove, rename, search } from "./views";

test("an address is the same whatever the order, and reads back", () => {
  const one = address({ sort: "-lastSeen", connection: "offline", q: "", labels: undefined });
  expect(one).toBe(address({ connection: "offline", sort: "-lastSeen" }));
  expect(search({ name: "x", address: address({ labels: "role in (a,b),site!=n" }) })).toEqual({ labels: "role in (a,b),site!=n" });
});

test.each([[null], [""], ["{"], ["7"], ['{"name":"a"}'], ['[1,null,{"name":"a"}]']])("of %j nothing is read", (text) => expect(read(text)).toEqual([]));

test("views are put, renamed and removed by name", () => {
  const views = put(put([], { name: "b", address: "q=1" }), { name: "a", address: "q=2" });
  expect(views.map(({ name }) => name)).toEqual(["a", "b"]);
  expect(put(views, { name: "a", address: "q=3" })).toHaveLength(2);
  expect(rename(views, "a", " c ")).toEqual([{ name: "b", address: "q=1" }, { name: "c", address: "q=2" }]);
  expect(remove(views, "a")).toEqual([{ name: "b", address: "q=1" }]);
  expect(read(JSON.stringify(views))).toEqual(views);
});

test("a name is given once, and not for ever longer", () => {
  const views = [{ name: "night", address: "" }];
  expect(fault(views, " ")).toMatch(/needs a name/);
  expect(fault(views, "night")).toMatch(/already/);
  expect(fault(views, "night", "night")).toBeUndefined();
  expect(fault(views, "x".repeat(LONGEST + 1))).toMatch(/characters/);
  expect(fault(Array.from({ length: MOST }, (_, at) => ({ name: `${at}`, address: "" })), "one more")).toMatch(/at most/);
});
