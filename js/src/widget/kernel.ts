// One widget model's link to its kernel: the kernel says where the server is, which run to watch, and what Python decides;
// the page says how its own connection stands. All of it travels as custom messages; synced traits would be saved,
// throttled, and can get stuck for good.

import { decodePage, type LogPage } from "../protocol/decode";
import { uuid } from "../protocol/uuid";
import type { Command, Phase, Wanted } from "../stream/stream";
import type { Durations } from "../view/model/estimate";
import type { Draw, PictureFormat } from "../view/panel";
import type { Model } from "./anywidget";
import type { Acquire, Lease, Located } from "./registry";

/** How long a kernel that runs a cell may take to say where the server is, before the last answer is used again. */
const RENEWAL_MS = 1_500;

/** How long what the kernel asks the server for may take: a kernel answers between two cells. */
const ANSWER_MS = 60_000;
const BUSY = "the kernel is busy: no answer within a minute";
const RESTARTED = "the kernel was restarted";

/** A larger message would end the page's connection to the kernel: 10 MiB is what Jupyter takes. */
const PICTURE_BYTES = 9_000_000;

/** What the kernel gets from the server when it is asked to, and what comes back: `fault` says why there is none. */
interface Questions {
  output: [question: { node_id: string; run: string | undefined }, answer: { text?: string }];
  /** A page of a log comes compressed beside the answer. */
  log: [question: { run: string; after: number }, answer: object];
  earlier: [question: { run: string }, answer: { durations?: Durations | null }];
}
type Kind = keyof Questions;
type Answer = { [K in Kind]: { type: K; fault?: string } & Questions[K][0] & Questions[K][1] }[Kind];

/** What the kernel says. */
type FromKernel =
  | ({ type: "endpoint" } & Located)
  | { type: "command"; command: Command }
  /** Said again each time that the server is looked for; `all`: also to views whose person has picked another run. */
  | { type: "follow"; run: string | null; pin: boolean; all?: boolean }
  | Answer
  | { type: "picture?"; id: string; format: PictureFormat }
  | { type: "fault"; reason: string };

/** What it is told. A page that is live, with a role that permits it, is sent what Python decides. */
type ToKernel =
  | { type: "endpoint?" }
  | { type: "page"; id: string; phase: Phase; role: string | null; run: string | null; dialect?: "v1" | "plain" }
  | { [K in Kind]: { type: `${K}?` } & Questions[K][0] }[Kind]
  /** A command of the kernel went out on this page's connection. */
  | { type: "sent"; id: string }
  | { type: "picture"; id: string; fault?: string };

export class KernelLink {
  /** Why there will be no stream. */
  fault: string | undefined;
  /** Why the kernel that made the model is gone. */
  ended: string | undefined;
  /** A share in the stream of the run that the kernel watches, once it has said where the server is. */
  lease: Lease | undefined;
  #endpoint: Located | undefined;
  #closed = false;
  /** The run that the kernel pins, or begins. */
  #wanted: Wanted | undefined;
  #reported = "";
  #unsubscribe: readonly (() => void)[] = [];
  readonly #id = uuid();
  readonly #leases = new Set<Lease>();
  readonly #renewals = new Set<(endpoint: Located) => void>();
  readonly #questions = new Set<(answer: Answer, bytes: DataView | undefined) => void>();
  /** Pictures that were asked for and are not drawn yet, and who can draw them: where they show what the kernel watches. */
  readonly #pictures = new Map<string, PictureFormat>();
  readonly #offers = new Map<Draw, () => boolean>();
  readonly #listeners = new Set<(all: boolean) => void>();

  constructor(
    private readonly model: Model,
    private readonly acquire: Acquire,
  ) {
    model.on("msg:custom", this.#receive);
    model.on("comm_live_update", this.#orphan);
    this.#send({ type: "endpoint?" });
  }

  /** Another share in that stream or in one for the run `wanted`; with the link it ends at the latest. */
  open(wanted = this.#pinned): Lease | undefined {
    if (!this.#endpoint || this.#closed) return undefined;
    const { release, ...share } = this.acquire(this.#endpoint, this.#renew, wanted, this.model.widget_manager);
    const lease = { ...share, release: (reason?: string) => void (this.#leases.delete(lease) && release(reason)) };
    this.#leases.add(lease);
    return lease;
  }

  /** Be told when `lease`, `fault` or `ended` is another one; `all`: what people have picked in views gives way. */
  subscribe(listener: (all: boolean) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The whole output of a node of a run, as JSON text; rejects with a sentence. */
  output(node_id: string, run: string | undefined): Promise<string> {
    return this.#ask("output", { node_id, run }, ({ text }) => text);
  }

  /** The events of a run that follow `after`, as many as come at once; rejects with a sentence. */
  async log(run: string, after: number): Promise<LogPage> {
    return decodePage(await unpacked(await this.#ask("log", { run, after }, (_, bytes) => bytes)));
  }

  /** How long the last run before `run` took that has completed; undefined where there is none. Rejects as they do. */
  async earlier(run: string): Promise<Durations | undefined> {
    return (await this.#ask("earlier", { run }, ({ durations }) => durations)) ?? undefined;
  }

  /** Take an offer to draw the graph when the kernel asks for it, as long as it is `right`; returns how to take it back. */
  offer(draw: Draw, right: () => boolean): () => void {
    this.#offers.set(draw, right);
    this.#draw();
    return () => this.#offers.delete(draw);
  }

  /** The model is gone. */
  readonly close = (): void => this.#close();

  /** A kernel that starts has none of the models of the one before. */
  readonly #orphan = (): void => {
    this.ended = RESTARTED;
    this.#close(this.ended);
    // A view that has a stream hears of it there.
    if (!this.lease) this.#notify();
  };

  #close(reason?: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.model.off("msg:custom", this.#receive);
    this.model.off("comm_live_update", this.#orphan);
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    for (const lease of this.#leases) lease.release(reason);
  }

  /** Ask, and take from the answer what `value` finds in it. */
  #ask<K extends Kind, T>(
    kind: K,
    question: Questions[K][0],
    value: (answer: Questions[K][1], bytes?: DataView) => T | undefined,
  ): Promise<T> {
    if (this.ended) return Promise.reject(new Error(`${this.ended}: run this cell again`));
    return new Promise((resolve, reject) => {
      const done = () => {
        clearTimeout(timer);
        this.#questions.delete(take);
      };
      const take = (answer: Answer, bytes: DataView | undefined) => {
        // It repeats what was asked.
        const said: Record<string, unknown> = { ...question, ...answer };
        if (answer.type !== kind || Object.entries(question).some(([name, asked]) => said[name] !== asked)) return;
        done();
        const found = value(answer as Questions[K][1], bytes);
        if (found === undefined) reject(new Error(answer.fault ?? "the kernel could not load it"));
        else resolve(found);
      };
      const timer = setTimeout(() => {
        done();
        reject(new Error(BUSY));
      }, ANSWER_MS);
      this.#questions.add(take);
      this.#send({ ...question, type: `${kind}?` } as ToKernel);
    });
  }

  readonly #receive = (message: FromKernel, buffers: readonly DataView[] = []): void => {
    switch (message.type) {
      case "endpoint":
        this.#located({ url: message.url, token: message.token, challenge: message.challenge });
        break;
      case "command":
        // Where this page is not live any more, the kernel sends it over its own connection.
        if (this.lease?.stream.connection.phase === "live") {
          void this.lease.stream.send(message.command);
          this.#send({ type: "sent", id: message.command.id });
        }
        break;
      case "follow":
        this.#follow(message.run, message.pin, message.all);
        break;
      case "output":
      case "log":
      case "earlier":
        for (const take of this.#questions) take(message, buffers[0]);
        break;
      case "picture?":
        this.#pictures.set(message.id, message.format);
        this.lease?.stream.start();
        this.#draw();
        break;
      case "fault":
        this.fault = message.reason;
        this.#notify();
        break;
      default:
        message satisfies never;
    }
  };

  #located(endpoint: Located): void {
    this.#endpoint = endpoint;
    for (const renewed of this.#renewals) renewed(endpoint);
    this.#renewals.clear();
    if (this.lease || this.#closed) return;
    this.fault = undefined;
    this.#watch();
  }

  /** The server may have moved since: ask, but don't wait for a kernel that is busy. */
  readonly #renew = (): Promise<Located> => {
    const last = this.#endpoint;
    return new Promise((resolve) => {
      const timer = last && setTimeout(() => resolve(last), RENEWAL_MS);
      this.#renewals.add((endpoint) => {
        clearTimeout(timer);
        resolve(endpoint);
      });
      this.#send({ type: "endpoint?" });
    });
  };

  get #pinned(): Wanted | undefined {
    return this.#wanted?.follow ? undefined : this.#wanted;
  }

  #follow(run: string | null, pin: boolean, all = false): void {
    const before = this.#wanted;
    this.#wanted = run === null ? undefined : pin ? { run } : { run, follow: true };
    if (!this.lease) return;
    if ((before?.follow ? undefined : before?.run) !== this.#pinned?.run) this.#watch();
    // Once, as it is said again.
    else if (this.#wanted?.run !== before?.run) this.#begin(before?.run);
    if (all) this.#notify(true);
  }

  #watch(): void {
    const before = this.lease;
    this.lease = this.open()!;
    const { stream, store } = this.lease;
    this.#begin();
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#unsubscribe = [stream.subscribe(() => this.#report()), store.subscribe(() => this.#draw())];
    this.#report();
    this.#notify();
    before?.release();
  }

  /** What follows moves with the kernel, on the same connection: not to a run that is over, which others may have left. */
  #begin(before?: string): void {
    const { run, follow } = this.#wanted ?? {};
    const { stream } = this.lease!;
    if (run === undefined) stream.forget(before);
    const isOver = stream.runs?.runs.some(({ run_id, ended_at }) => run_id === run && ended_at != null);
    if (run !== undefined && follow && !isOver) stream.begin(run);
  }

  /** Say how the connection stands, when that has changed. */
  #report(): void {
    const { stream, store } = this.lease!;
    const { phase, role = null, resumable } = stream.connection;
    const dialect = resumable === undefined ? undefined : resumable ? "v1" : "plain";
    const page = { type: "page", id: this.#id, phase, role, run: store.state.epoch ?? null, dialect } as const;
    if (JSON.stringify(page) === this.#reported) return;
    this.#reported = JSON.stringify(page);
    this.#send(page);
  }

  /** Have somebody draw what was asked for. Who can't answers nothing: another page may show the graph. */
  #draw(): void {
    const [draw] = [...this.#offers].find(([, right]) => right()) ?? [];
    const started = this.lease?.store.state.nodes.size;
    if (!draw || !started) return;
    for (const [id, format] of this.#pictures) void this.#answer(id, draw(format));
    this.#pictures.clear();
  }

  async #answer(id: string, picture: Promise<Blob>): Promise<void> {
    try {
      const bytes = await (await picture).arrayBuffer();
      if (bytes.byteLength > PICTURE_BYTES)
        throw new Error("the picture is too large to send; use Export in the widget");
      this.#send({ type: "picture", id }, [bytes]);
    } catch (error) {
      this.#send({ type: "picture", id, fault: error instanceof Error ? error.message : String(error) });
    }
  }

  #send(message: ToKernel, buffers: ArrayBuffer[] = []): void {
    if (!this.#closed) this.model.send(message, undefined, buffers);
  }

  #notify(all = false): void {
    for (const listener of this.#listeners) listener(all);
  }
}

function unpacked(bytes: DataView): Promise<string> {
  const packed = new Blob([bytes as DataView<ArrayBuffer>]).stream();
  return new Response(packed.pipeThrough(new DecompressionStream("gzip"))).text();
}
