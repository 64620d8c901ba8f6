import { expect, test } from "vitest";
import { stale } from "./stale";

const words = (event: Parameters<typeof stale>[0]) => stale(event).map((key) => key.join("/")).sort();

test.each([
  [{ type: "device", name: "a", parts: ["problems"] }, ["device/a", "devices", "fleet"]],
  [{ type: "device", name: "a", parts: ["workloads/hello", "problems"] }, ["device/a", "devices", "fleet", "workload/hello", "workloads"]],
  [{ type: "device", name: "a", parts: ["connection"] }, ["device/a", "devices", "fleet", "workload", "workloads"]],
  [{ type: "device", name: "a" }, ["audit", "device/a", "devices", "fleet", "labels", "tokens", "workload", "workloads"]],
  [{ type: "workload", name: "w" }, ["audit", "device", "devices", "fleet", "image", "images", "workload/w", "workloads"]],
  [{ type: "image", name: "shop/till" }, ["audit", "image", "images"]],
  [{ type: "stream", name: "s" }, ["audit", "device", "policies", "policy", "streams"]],
  [{ type: "token", name: "t" }, ["audit", "tokens"]],
  [{ type: "access", name: "t" }, ["access", "audit", "sessions", "whoami"]],
  [{ type: "user", name: "anna" }, ["audit", "sessions", "users", "whoami"]],
  [{ type: "rolebinding", name: "kiel" }, ["audit", "policies", "users", "whoami"]],
])("%j makes stale what it can have changed", (event, keys) => expect(words(event)).toEqual(keys));
