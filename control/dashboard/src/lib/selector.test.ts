import { expect, test } from "vitest";
import { and, labelChanges, labelPairs, parse, suggest, write } from "./selector";

test("all four kinds of condition are read and written back", () => {
  const text = "role=gateway,site!=north,gpu,!retired";
  const { conditions, fault } = parse(text);
  expect(fault).toBeUndefined();
  expect(conditions).toEqual([
    { key: "role", operator: "=", value: "gateway" },
    { key: "site", operator: "!=", value: "north" },
    { key: "gpu", operator: "exists", value: "" },
    { key: "retired", operator: "absent", value: "" },
  ]);
  expect(conditions.map(write).join(",")).toBe(text);
});

test("sets are read as kubectl has them", () => {
  const text = "role in (gateway,camera),site notin (north),gpu";
  const { conditions, fault } = parse(text);
  expect(fault).toBeUndefined();
  expect(conditions.map(write).join(",")).toBe(text);
  expect(conditions[0]).toEqual({ key: "role", operator: "in", value: "gateway,camera" });
  expect(and(text, "gpu")).toBe(text);
  for (const wrong of ["a in (b", "a in b)", "a in (b,)", "a in ((b))", "a in (b c)"]) expect(parse(wrong).fault).toBeTruthy();
});

test.each(["a=b,", ",", "a b=c", "a=<b>", "=x"])("%j is refused in words", (text) => expect(parse(text).fault).toBeTruthy());
test.each(["", "  ", "a==b", " a = b , c "])("%j is accepted", (text) => expect(parse(text).fault).toBeUndefined());

const labels = [
  { key: "role", devices: 3, values: [{ value: "gateway", devices: 2 }, { value: "sensor", devices: 1 }] },
  { key: "site", devices: 2, values: [{ value: "berlin", devices: 2 }] },
];

test("keys are suggested, then values, after what is there", () => {
  expect(suggest("r", labels).map((one) => one.selector)).toEqual(["role="]);
  expect(suggest("role=", labels).map((one) => one.selector)).toEqual(["role=gateway", "role=sensor"]);
  expect(suggest("site=berlin,role!=se", labels).map((one) => one.selector)).toEqual(["site=berlin,role!=sensor"]);
  expect(suggest("!s", labels).map((one) => one.selector)).toEqual(["!site"]);
  expect(suggest("nothing=", labels)).toEqual([]);
});

test("a condition is added once", () => {
  expect(and("", "a=b")).toBe("a=b");
  expect(and("c", "a=b")).toBe("c,a=b");
  expect(and("a=b,c", "a=b")).toBe("a=b,c");
});

test("label forms", () => {
  expect(labelPairs("role=gateway, site=berlin")).toEqual({ labels: { role: "gateway", site: "berlin" } });
  expect(labelPairs("role").fault).toBeTruthy();
  expect(labelChanges("role=x old-")).toEqual({ labels: { role: "x", old: null } });
  expect(labelChanges("<b>=x").fault).toBeTruthy();
});
