import { expect, test } from "vitest";
import { manifestOf } from "./backup";

function tar(name: string, body: string, magic = "ustar"): Uint8Array {
  const bytes = new Uint8Array(1024);
  const put = (text: string, at: number) => bytes.set(new TextEncoder().encode(text), at);
  put(name, 0);
  put(body.length.toString(8).padStart(11, "0"), 124);
  put(magic, 257);
  put(body, 512);
  return bytes;
}

const GOOD = '{"format":1,"program":"holdfast 0.1.0","createdAt":"2026-11-24T18:00:00Z"}';

test("a backup says by whom and when it was made", () => {
  expect(manifestOf(tar("manifest.json", GOOD))).toEqual({ program: "holdfast 0.1.0", createdAt: "2026-11-24T18:00:00Z" });
});

test("another file is no backup, and a strange manifest is the server's to judge", () => {
  for (const other of [new Uint8Array(), new Uint8Array(4096), tar("manifest.json.old", GOOD), tar("other", GOOD), tar("manifest.json", GOOD, "zstd!")]) expect(manifestOf(other)).toBeUndefined();
  expect(manifestOf(tar("manifest.json", '{"program":7'))).toEqual({});
  expect(manifestOf(tar("manifest.json", '{"program":7,"createdAt":"x"}'))).toEqual({ createdAt: "x" });
});

test("an encrypted backup says what opens it", () => {
  const head = (text: string) => new TextEncoder().encode(`age-encryption.org/v1\n${text}\n`);
  expect(manifestOf(head("-> scrypt AAAA 16"))).toEqual({ by: "passphrase" });
  expect(manifestOf(head("-> X25519 AAAA"))).toEqual({ by: "identity" });
});
