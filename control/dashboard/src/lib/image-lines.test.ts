import { expect, test } from "vitest";
import { authorityFile, loginLine, pullLine, registryHost } from "./image-lines";

test("other machines get an address that does not mean themselves", () => {
  expect(registryHost("https://plane.example:8443", ["https://10.0.0.5:8443"])).toBe("plane.example:8443");
  expect(registryHost("https://127.0.0.1:8443", ["https://localhost:8443", "https://10.0.0.5:8443"])).toBe("10.0.0.5:8443");
  expect(registryHost("https://127.0.0.1:8443")).toBe("127.0.0.1:8443");
});

test("an image is pulled by its tag, or exactly by its digest", () => {
  expect(pullLine("plane:8443", "shop/till", "1.4", "sha256:aa")).toBe("docker pull plane:8443/shop/till:1.4");
  expect(pullLine("plane:8443", "shop/till", undefined, "sha256:aa")).toBe("docker pull plane:8443/shop/till@sha256:aa");
  expect(loginLine("plane:8443")).toBe("docker login --username token plane:8443");
  expect(authorityFile("plane:8443")).toBe("/etc/docker/certs.d/plane:8443/ca.crt");
});
