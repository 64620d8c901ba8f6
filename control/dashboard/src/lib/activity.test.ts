import { expect, test } from "vitest";
import { asked, categories, did, difference, file, local, moment, placeOf, showing, who, without } from "./activity";

test("changes are shown, and what else the address wants", () => {
  expect(categories(undefined)).toEqual(["change"]);
  expect(categories("device,change")).toEqual(["change", "device"]);
  expect(categories("none")).toEqual([]);
  expect(categories("bogus,login")).toEqual(["login"]);
  for (const wanted of [["change"], ["change", "device"], [], ["login"]] as const) expect(categories(showing(wanted))).toEqual(wanted);
  expect(showing(["change"])).toBeUndefined();
});

test("an address becomes what the API is asked, and the same as a file", () => {
  expect(asked({})).toEqual({ category: "change" });
  expect(asked({ show: "change,device", who: "night", object: "workload/hello", since: "8h", tab: "x" })).toEqual({ category: "change,device", who: "night", object: "workload/hello", since: "8h" });
  expect(asked({ from: "2026-11-28T00:00:00.000Z", since: "8h" })).toEqual({ category: "change", since: "2026-11-28T00:00:00.000Z" });
  expect(file("csv", { q: "a b&c" })).toBe("/api/v1/activity?category=change&q=a+b%26c&format=csv");
});

test("actions are words, and one that is not known is its name", () => {
  expect(["workload.apply", "device.label", "session.begin", "linkbudget.delete", "restore", "image.push", "image.delete", "volume.backup", "moon.launch"].map(did)).toEqual(["applied", "changed the labels of", "logged in", "deleted", "restored a backup", "pushed", "deleted", "backed up a volume of", "moon.launch"]);
});

test("people have names, objects have places", () => {
  expect(who("00ff", "night duty")).toBe("night duty");
  expect(who("00ff", null)).toBe("00ff");
  expect(who("token 00ff")).toBe("enrolment token 00ff");
  expect(who("holdfast")).toBe("the control plane");
  const paths = ["/workloads", "/workloads/$name", "/devicepolicies/$name", "/images/$name"];
  expect(placeOf("workload", "a b", paths)).toBe("/workloads/a%20b");
  expect(placeOf("devicepolicy", "ship", paths)).toBe("/devicepolicies/ship");
  expect(placeOf("access", "00ff", paths)).toBe("/settings");
  expect(placeOf("stream", "pump/1", paths)).toBe("/policies/streams/pump%2F1");
  expect(placeOf("linkbudget", "satellite", paths)).toBe("/policies/linkbudgets/satellite");
  expect(placeOf("image", "shop/till", paths)).toBe("/images/shop%2Ftill");
  expect(placeOf("moon", "x", paths)).toBeUndefined();
  expect(without("hello", "hello: running → waiting to restart")).toBe("running → waiting to restart");
  expect(without(undefined, "hello: x")).toBe("hello: x");
  expect(difference("hello", 2)).toEqual({ to: "/workloads/hello", search: { tab: "revisions", to: "2", from: "1" } });
  expect(difference("hello", 1).search).toEqual({ tab: "revisions", to: "1" });
});

test("moments go to fields and back", () => {
  expect(local(moment("2026-11-28T22:10"))).toBe("2026-11-28T22:10");
  expect(moment("")).toBeUndefined();
  expect(local(undefined)).toBe("");
});
