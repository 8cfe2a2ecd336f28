// The anywidget entry: `initialize` makes the link to the kernel, and with it a share in the stream; `render` draws both.

import { Store } from "../state/store";
import type { Connection } from "../stream/stream";
import type { Draw } from "../view/panel";
import type { MountDetails, ViewOptions } from "../view/shell";
import { mountView } from "../view/view";
import type { Model, Widget } from "./anywidget";
import { KernelLink } from "./kernel";
import { acquire } from "./registry";

/**
 * Called once for each model; what its `initialize` made is there for all of its views. `make` gets the details from the
 * source of their bundle, which the kernel sends along.
 */
export function createWidget(make: (source: string) => Promise<MountDetails>): Widget {
  let link: KernelLink | undefined;
  let details: Promise<MountDetails> | undefined;
  return {
    initialize({ model }) {
      link = new KernelLink(model, acquire);
      return link.close;
    },
    render({ model, el }) {
      details ??= make(String(model.get("_details")));
      return renderView(model, el, link, details);
    },
  };
}

/** A bundle that was built apart from this one, from its source and from what the two have in common. */
export async function load<T>(source: string, common: readonly unknown[]): Promise<T> {
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  try {
    const bundle: { default(common: readonly unknown[]): T } = await import(/* @vite-ignore */ url);
    return bundle.default(common);
  } finally {
    URL.revokeObjectURL(url);
  }
}

function renderView(
  model: Model,
  el: HTMLElement,
  link: KernelLink | undefined,
  details: Promise<MountDetails>,
): () => void {
  const dagId = String(model.get("dag_id"));
  const saved = model.get("snapshot") as Record<string, unknown> | undefined;
  const options = {
    dagId,
    details,
    snapshot: saved && Object.keys(saved).length > 0 ? saved : undefined,
    whole: link && ((nodeId: string) => link.output(nodeId)),
    earlier: link && ((run: string) => link.earlier(run)),
    log: link && ((run: string, after: number) => link.log(run, after)),
  };
  let unmount = () => {};
  const mount = () => {
    unmount();
    const lease = link?.lease;
    const leave = lease?.stream.attend();
    const offer = lease && ((draw: Draw) => (link as KernelLink).offer(draw));
    const close = mountView(el, { ...options, offer, ...(lease ?? unconnected(link)) });
    unmount = () => {
      close();
      leave?.();
    };
  };
  mount();
  const unsubscribe = link?.subscribe(mount);
  return () => {
    unsubscribe?.();
    unmount();
  };
}

/** Nothing to follow: the kernel has not answered yet, has said why it can't, or is gone. */
function unconnected({ fault, ended }: Partial<KernelLink> = {}): Pick<ViewOptions, "store" | "stream"> {
  const stopped = (code: number, reason: string) => ({ phase: "stopped", attempt: 0, code, reason }) as const;
  const connection: Connection = ended
    ? stopped(1000, ended)
    : fault
      ? stopped(4400, fault)
      : { phase: "idle", attempt: 0 };
  return {
    store: new Store(),
    stream: {
      connection,
      pending: [],
      subscribe: () => () => {},
      send: async ({ id }) => ({ type: "command_ack", id, ok: false, code: "not_connected", message: ended ?? fault }),
    },
  };
}
