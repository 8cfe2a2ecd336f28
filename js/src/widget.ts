// The anywidget entry: `initialize` makes the link to the kernel, and with it a share in the stream; `render` draws both.

import type { Model, Widget } from "./anywidget";
import { KernelLink } from "./kernel";
import { acquire } from "./registry";
import { Store } from "./store";
import type { Connection } from "./stream";
import type { Draw } from "./view/model";
import { mountView, type ViewOptions } from "./view/view";

/** Called once for each model; what its `initialize` made is there for all of its views. */
export default function createWidget(): Widget {
  let link: KernelLink | undefined;
  return {
    initialize({ model }) {
      link = new KernelLink(model, acquire);
      return link.close;
    },
    render({ model, el }) {
      return renderView(model, el, link);
    },
  };
}

function renderView(model: Model, el: HTMLElement, link: KernelLink | undefined): () => void {
  const dagId = String(model.get("dag_id"));
  const saved = model.get("snapshot") as Record<string, unknown> | undefined;
  const options = {
    dagId,
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
    const close = mountView(el, { ...options, offer, ...(lease ?? unconnected(link?.fault)) });
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
