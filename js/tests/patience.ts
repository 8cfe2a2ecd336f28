// A test waits until something happens; `vi.waitFor` gives up after one second, which a busy machine may need.
import { vi } from "vitest";

const waitFor = vi.waitFor;
vi.waitFor = (callback, options = 60_000) => waitFor(callback, options);
