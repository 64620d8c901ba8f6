import { describe, expect, it } from "vitest";
import { matcherOf, matcherWords, mutedWords } from "./alarms";

describe("alarms in words", () => {
  it("an item of the summary names its alarms by kind and code", () => {
    expect(matcherOf({ kind: "lost", code: null, count: 3, devices: [] })).toEqual({ kind: "lost" });
    expect(matcherOf({ kind: "failing", code: "hello", count: 3, devices: [] })).toEqual({ kind: "failing", code: "hello" });
  });
  it("a matcher is said", () => {
    for (const [matcher, words] of [
      [{ kind: "failing", code: "hello", device: "gw-1" }, "failing workload hello on gw-1"],
      [{ kind: "lost", labelSelector: "site=kiel" }, "device offline on devices with site=kiel"],
      [{ device: "gw-1" }, "every alarm on gw-1"],
      [{ code: "clock" }, "clock"],
      [{ kind: "never-seen" }, "device never connected"],
      [{ kind: "some-kind" }, "some kind"],
    ] as const) expect(matcherWords(matcher)).toBe(words);
  });
  it("what is muted is counted apart", () => {
    expect(mutedWords({ count: 3 })).toBe("");
    expect(mutedWords({ acknowledged: 3, silenced: 0, count: 3 })).toBe("acknowledged");
    expect(mutedWords({ acknowledged: 1, silenced: 1, count: 3 })).toBe("1 acknowledged, 1 silenced");
  });
});
