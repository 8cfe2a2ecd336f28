// The anywidget entry: `initialize` owns the link to the kernel and a share in the stream; `render` draws a view of them.

import type { Model, Widget } from "./anywidget";
import { KernelLink } from "./kernel";
import { acquire } from "./registry";
import { Store } from "./store";
import type { Connection } from "./stream";
import { mountView, type ViewOptions } from "./view/view";

// `initialize` may have run for a model that another evaluation of this module renders.
const LINKS = Symbol.for("dagwidget.links.1");

function links(): WeakMap<Model, KernelLink> {
  const world = globalThis as { [LINKS]?: WeakMap<Model, KernelLink> };
  world[LINKS] ??= new WeakMap();
  return world[LINKS];
}

const widget: Widget = {
  initialize({ model }) {
    const link = new KernelLink(model, acquire);
    links().set(model, link);
    return link.close;
  },

  render({ model, el }) {
    const link = links().get(model);
    const dagId = String(model.get("dag_id"));
    const snapshot = model.get("snapshot") as Record<string, unknown> | undefined;
    let unmount = () => {};
    const mount = () => {
      unmount();
      const lease = link?.lease;
      const leave = lease?.stream.attend();
      const options = { dagId, snapshot: snapshot && Object.keys(snapshot).length > 0 ? snapshot : undefined };
      const close = mountView(el, lease ? { ...options, ...lease } : { ...options, ...unconnected(link?.fault) });
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
  },
};

/** Nothing to follow: the kernel has not answered yet, or has said why it can't. */
function unconnected(fault: string | undefined): Pick<ViewOptions, "store" | "stream"> {
  const connection: Connection = fault
    ? { phase: "stopped", attempt: 0, code: 4400, reason: fault }
    : { phase: "idle", attempt: 0 };
  return {
    store: new Store(),
    stream: {
      connection,
      pending: [],
      subscribe: () => () => {},
      send: async ({ id }) => ({ type: "command_ack", id, ok: false, code: "not_connected", message: fault }),
    },
  };
}

export default widget;
