import { expect, test } from "vitest";
import { asked, chips, columns, DEFAULT } from "./filter";

test("an address without anything asks for everything", () => {
  expect(asked({})).toEqual({ filter: {}, group: undefined, filtered: false, ignored: [] });
  expect(columns({})).toEqual(DEFAULT);
});

test("what is asked for goes by the API's names", () => {
  const { filter, filtered, ignored, group } = asked({ labels: "role=gateway", connection: "offline,never-seen", health: "failing", attention: "lost", q: "x", sort: "-heardAt", group: "site" });
  expect(filter).toEqual({ labelSelector: "role=gateway", connection: "offline,never-seen", health: "failing", attention: "lost", q: "x", sort: "-heardAt" });
  expect([filtered, ignored, group]).toEqual([true, [], "site"]);
});

test.each([
  [{ connection: "bogus" }, "connection=bogus", {}],
  [{ connection: "online,bogus" }, "connection=bogus", { connection: "online" }],
  [{ health: "well" }, "health=well", {}],
  [{ attention: "none" }, "attention=none", {}],
  [{ sort: "bogus" }, "sort=bogus", {}],
  [{ sort: "-lastSeen" }, "sort=-lastSeen", {}],
  [{ labels: "role===" }, "labels=role===", {}],
  [{ columns: "agent.colour" }, "columns=colour", {}],
  [{ group: "a b" }, "group=a b", {}],
  [{ conection: "offline" }, "conection=offline", {}],
])("of %j the part %s is told as ignored", (search, part, filter) => {
  const found = asked(search);
  expect(found.ignored.map((one) => one.part)).toEqual([part]);
  expect(found.ignored[0]?.why).not.toBe("");
  expect(found.filter).toEqual(filter);
  expect(found.filtered).toBe(Object.keys(filter).length > 0);
});

test("filters that have no field of their own are chips", () => {
  expect(chips({ connection: "offline", health: "failing" })).toEqual([]);
  expect(chips({ connection: "offline,never-seen", site: "north" }).map(({ words }) => words)).toEqual(["offline or never seen", "site north"]);
});
