import { describe, expect, test } from "vitest";
import { backoff } from "../../src/stream/backoff";

const LONGEST = [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000];

describe("the wait before another attempt", () => {
  test.each(LONGEST.map((longest, index) => [index + 1, longest]))(
    "after failure %i is between half of %i ms and the whole",
    (failures, longest) => {
      expect(backoff(failures, () => 0)).toBe(longest / 2);
      expect(backoff(failures, () => 0.5)).toBe(longest * 0.75);
      expect(backoff(failures, () => 1 - Number.EPSILON)).toBeCloseTo(longest, 3);
    },
  );

  test("does not grow beyond 30 s, however often it failed", () => {
    expect(backoff(5_000, () => 1 - Number.EPSILON)).toBeLessThanOrEqual(30_000);
  });
});
