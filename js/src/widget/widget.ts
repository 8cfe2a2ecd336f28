// The anywidget entry: `initialize` makes the link to the kernel, and with it a share in the stream; `render` draws both.

import type { Wanted } from "../stream/stream";
import { nothing, Switch } from "../stream/switch";
import type { Draw } from "../view/panel";
import type { MountDetails } from "../view/shell";
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
  const saved = model.get("snapshot") as Record<string, unknown> | undefined;
  const shown = new Switch(nothing(link));
  /** The run that a person has picked for this view alone. */
  let picked: Wanted | undefined;
  const turn = () => {
    const share = link?.open(picked);
    if (share) shown.show(share);
    // A link that is closed leaves what was shown last.
    else if (!link?.lease) shown.show(nothing(link));
    return share !== undefined;
  };
  const pick = (wanted: Wanted) => {
    const { store, stream } = link!.lease!;
    picked = wanted.follow && stream.following && store.state.epoch === wanted.run ? undefined : wanted;
    return turn();
  };
  const unsubscribe = link?.subscribe((all) => {
    if (all) picked = undefined;
    turn();
  });
  turn();
  const close = mountView(el, {
    dagId: String(model.get("dag_id")),
    details,
    snapshot: saved && Object.keys(saved).length > 0 ? saved : undefined,
    store: shown.store,
    stream: shown.stream,
    whole: link && ((nodeId: string) => link.output(nodeId, shown.store.state.epoch)),
    earlier: link && ((run: string) => link.earlier(run)),
    log: link && ((run: string, after: number) => link.log(run, after)),
    offer: link && ((draw: Draw) => link.offer(draw, () => picked === undefined)),
    pick: link && pick,
  });
  return () => {
    unsubscribe?.();
    close();
    shown.close();
  };
}
