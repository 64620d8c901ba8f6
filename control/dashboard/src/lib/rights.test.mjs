import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { actionsOf, granted, judge, ROLES, sentence } from "./rights";

const openapi = JSON.parse(readFileSync(join(import.meta.dirname, "../../openapi.json"), "utf8"));

test("the control plane's own answer decides, and says why not", () => {
  const rights = {
    actions: [
      { action: "device.revoke", allowed: false, why: "this (device.revoke) needs the role operator or admin, and user anna has the role viewer: an admin gives roles, under Settings" },
      { action: "device.get", allowed: true, reach: "site=kiel", why: "role viewer of role binding kiel" },
    ],
  };
  expect(judge(rights, "device.revoke")).toEqual({ allowed: false, why: "This needs the role operator or admin, and user anna has the role viewer: an admin gives roles, under Settings" });
  expect(judge(rights, "device.get")).toEqual({ allowed: true, reach: "site=kiel", why: "Role viewer of role binding kiel" });
  // What needs no role is not in the answer; without an answer the control plane is asked.
  expect(judge(rights, "session.end").allowed).toBe(true);
  expect(judge(undefined, "device.revoke").allowed).toBe(true);
  expect(sentence("plain")).toBe("Plain");
});

test("a role on some devices says which", () => {
  expect(granted({ role: "device-provisioner" })).toBe("Device provisioner");
  expect(granted({ role: "viewer", selector: "site=kiel" })).toBe("Viewer of site=kiel");
});

test("the API's description says of each action which roles may do it, and the words know them all", () => {
  const areas = actionsOf(openapi);
  const all = [...areas.values()].flat();
  expect(all.length).toBeGreaterThan(60);
  expect([...areas.keys()]).not.toContain("Other");
  const known = ROLES.map(({ value }) => value);
  for (const { roles, about } of all) {
    expect(roles).toContain("admin");
    for (const role of roles) expect(known).toContain(role);
    expect(about).not.toMatch(/`/);
  }
  expect(all.find(({ action }) => action === "device.revoke")?.roles).toEqual(["operator", "admin"]);
  expect(actionsOf(undefined).size).toBe(0);
});
