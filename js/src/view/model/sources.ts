// Where the model's state comes from.

import type { Store } from "../../state/store";
import type { Stream } from "../../stream/stream";

/** What a view needs of a store and of a stream; the real ones fit, and so do a test's. */
export type StoreSource = Pick<Store, "state" | "subscribe">;
export type StreamSource = Pick<Stream, "connection" | "pending" | "send" | "subscribe">;
