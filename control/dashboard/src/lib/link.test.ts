import { expect, test } from "vitest";
import { fitsIn, waiting } from "./link";

test("whether it fits has a word and a shape, and what is new is shown as it is", () => {
  expect(fitsIn("waits")).toEqual({ tone: "bad", words: "waits" });
  expect(fitsIn("short").tone).toBe("warn");
  expect(fitsIn("else")).toEqual({ tone: "idle", words: "else" });
});

test("how long it waits", () => {
  expect(waiting({ waits: "until" })).toBe("until");
  expect(waiting({ waits: "little-by-little" })).toContain("little by little");
  expect(waiting({ waits: "not-with-this-share" })).toContain("too little");
  expect(waiting({})).toBe("");
});
