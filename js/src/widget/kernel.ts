// One widget model's link to its kernel: the endpoint and commands come from there, and what the stream brings goes
// there. All of it travels as custom messages; synced traits would be saved, throttled, and can get stuck for good.

import { decodePage, type LogPage } from "../protocol/decode";
import type { CommandAck } from "../protocol/messages";
import { assertNever } from "../protocol/never";
import { uuid } from "../protocol/uuid";
import { toJSON } from "../state/store";
import type { Batch, Command, Endpoint } from "../stream/stream";
import type { Durations } from "../view/model/estimate";
import type { Draw, PictureFormat } from "../view/panel";
import type { Model } from "./anywidget";
import type { Lease } from "./registry";

/** How long a kernel that runs a cell may take to say where the server is, before the last answer is used again. */
const RENEWAL_MS = 1_500;

/** How long what the kernel asks the server for may take: a kernel answers between two cells. */
const ANSWER_MS = 60_000;
const BUSY = "the kernel is busy: no answer within a minute";
const RESTARTED = "the kernel was restarted";

/** A larger message would end the page's connection to the kernel: 10 MiB is what Jupyter takes. */
const PICTURE_BYTES = 9_000_000;

/** A plain server sends one event a frame, and a kernel should not get one message for each. */
const GATHER_MS = 16;

/** What the kernel gets from the server when it is asked to. */
type Question =
  | { type: "output?"; node_id: string }
  | { type: "log?"; run: string; after: number }
  | { type: "earlier?"; run: string };

/** Its answer, with what the question named; a page of a log comes compressed beside it. `fault`: why there is none. */
type Answer =
  | { type: "output"; node_id: string; text?: string; fault?: string }
  | { type: "log"; run: string; after: number; fault?: string }
  | { type: "earlier"; run: string; durations?: Durations | null; fault?: string };
type AnswerTo<Q extends Question> = Q extends { type: `${infer T}?` } ? Extract<Answer, { type: T }> : never;

/** What the kernel says. */
type FromKernel =
  | ({ type: "endpoint" } & Endpoint)
  | { type: "command"; command: Command }
  | { type: "state?" }
  | Answer
  | { type: "picture?"; id: string; format: PictureFormat }
  | { type: "fault"; reason: string };

/** What it is told; `source` tells one page's messages from another's. */
type ToKernel =
  | { type: "endpoint?" }
  | { type: "connection"; connection: unknown }
  | { type: "state"; source: string; state: unknown }
  | ({ type: "events"; source: string } & Omit<Batch, "reset">)
  | Question
  | { type: "picture"; id: string; fault?: string }
  | { type: "ack"; ack: CommandAck };

/** Shares a stream by its endpoint; `renew` asks where the server is now. */
export type Acquire = (endpoint: Endpoint, renew: () => Promise<Endpoint>) => Lease;

export class KernelLink {
  /** Why there will be no stream. */
  fault: string | undefined;
  /** Why the kernel that made the model is gone. */
  ended: string | undefined;
  #lease: Lease | undefined;
  #endpoint: Endpoint | undefined;
  #closed = false;
  #gathered: Batch | undefined;
  #gathering: ReturnType<typeof setTimeout> | undefined;
  readonly #source = uuid();
  readonly #renewals = new Set<(endpoint: Endpoint) => void>();
  readonly #questions = new Set<(answer: Answer, bytes: DataView | undefined) => void>();
  /** Pictures that were asked for and are not drawn yet, and who can draw them. */
  readonly #pictures = new Map<string, PictureFormat>();
  readonly #offers = new Set<Draw>();
  readonly #listeners = new Set<() => void>();
  readonly #subscriptions: (() => void)[] = [];

  constructor(
    private readonly model: Model,
    private readonly acquire: Acquire,
  ) {
    model.on("msg:custom", this.#receive);
    model.on("comm_live_update", this.#orphan);
    this.#send({ type: "endpoint?" });
  }

  /** The shared stream, once the kernel has said where it is. */
  get lease(): Lease | undefined {
    return this.#lease;
  }

  /** Be told when `lease` or `fault` appears, or the kernel is gone. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The whole output of a node, as JSON text; rejects with a sentence. */
  output(nodeId: string): Promise<string> {
    return this.#ask({ type: "output?", node_id: nodeId }, ({ text }) => text);
  }

  /** The events of a run that follow `after`, as many as come at once; rejects with a sentence. */
  async log(run: string, after: number): Promise<LogPage> {
    return decodePage(await unpacked(await this.#ask({ type: "log?", run, after }, (_, bytes) => bytes)));
  }

  /** How long the last run before `run` took that has completed; undefined where there is none. Rejects as they do. */
  async earlier(run: string): Promise<Durations | undefined> {
    return (await this.#ask({ type: "earlier?", run }, ({ durations }) => durations)) ?? undefined;
  }

  /** Take an offer to draw the graph, whenever the kernel asks for a picture; returns how to take it back. */
  offer(draw: Draw): () => void {
    this.#offers.add(draw);
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
    if (!this.#lease) this.#notify();
  };

  #close(reason?: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.model.off("msg:custom", this.#receive);
    this.model.off("comm_live_update", this.#orphan);
    clearTimeout(this.#gathering);
    for (const unsubscribe of this.#subscriptions) unsubscribe();
    this.#lease?.release(reason);
  }

  /** Ask, and take from the answer what `value` finds in it. */
  #ask<Q extends Question, T>(
    question: Q,
    value: (answer: AnswerTo<Q>, bytes?: DataView) => T | undefined,
  ): Promise<T> {
    if (this.ended) return Promise.reject(new Error(`${this.ended}: run this cell again`));
    return new Promise((resolve, reject) => {
      const done = () => {
        clearTimeout(timer);
        this.#questions.delete(take);
      };
      const take = (answer: Answer, bytes: DataView | undefined) => {
        if (!answers(answer, question)) return;
        done();
        const found = value(answer, bytes);
        if (found === undefined) reject(new Error(answer.fault ?? "the kernel could not load it"));
        else resolve(found);
      };
      const timer = setTimeout(() => {
        done();
        reject(new Error(BUSY));
      }, ANSWER_MS);
      this.#questions.add(take);
      this.#send(question);
    });
  }

  readonly #receive = (message: FromKernel, buffers: readonly DataView[] = []): void => {
    switch (message.type) {
      case "endpoint":
        this.#located({ url: message.url, token: message.token });
        break;
      case "command":
        this.#command(message.command);
        break;
      case "state?":
        // Python waits for something, so also a stream that nobody looks at is wanted.
        this.#lease?.stream.start();
        this.#sendState();
        break;
      case "output":
      case "log":
      case "earlier":
        for (const take of this.#questions) take(message, buffers[0]);
        break;
      case "picture?":
        this.#pictures.set(message.id, message.format);
        this.#lease?.stream.start();
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

  #located(endpoint: Endpoint): void {
    this.#endpoint = endpoint;
    for (const renewed of this.#renewals) renewed(endpoint);
    this.#renewals.clear();
    if (this.#lease || this.#closed) return;
    this.fault = undefined;
    const lease = this.acquire(endpoint, this.#renew);
    this.#lease = lease;
    const { stream } = lease;
    const sendConnection = () => this.#send({ type: "connection", connection: stream.connection });
    this.#subscriptions.push(stream.subscribe(sendConnection), stream.onBatch(this.#forward));
    sendConnection();
    this.#sendState();
    this.#notify();
  }

  /** The server may have moved since: ask, but don't wait for a kernel that is busy. */
  readonly #renew = (): Promise<Endpoint> => {
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

  readonly #forward = (batch: Batch): void => {
    if (this.#pictures.size > 0) this.#draw();
    if (batch.reset) {
      this.#sendState();
      return;
    }
    const before = this.#gathered;
    if (before && before.epoch === batch.epoch && before.seq === batch.after) {
      this.#gathered = { ...batch, after: before.after, events: [...before.events, ...batch.events] };
    } else {
      this.#sendGathered();
      this.#gathered = batch;
    }
    this.#gathering ??= setTimeout(() => this.#sendGathered(), GATHER_MS);
  };

  #sendGathered(): void {
    clearTimeout(this.#gathering);
    this.#gathering = undefined;
    if (!this.#gathered) return;
    const { epoch, after, seq, events } = this.#gathered;
    this.#gathered = undefined;
    this.#send({ type: "events", source: this.#source, epoch, after, seq, events });
  }

  #sendState(): void {
    // The state holds what was gathered.
    this.#gathered = undefined;
    if (this.#lease) this.#send({ type: "state", source: this.#source, state: toJSON(this.#lease.store.state) });
  }

  #command(command: Command): void {
    void this.#lease?.stream.send(command).then((ack) => this.#send({ type: "ack", ack }));
  }

  /** Have somebody draw what was asked for. Who can't answers nothing: another page may show the graph. */
  #draw(): void {
    const [draw] = this.#offers;
    const started = this.#lease?.store.state.nodes.size;
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

  #notify(): void {
    for (const listener of this.#listeners) listener();
  }
}

/** Whether an answer is the one to this question. */
function answers<Q extends Question>(answer: Answer, question: Q): answer is AnswerTo<Q> {
  switch (question.type) {
    case "output?":
      return answer.type === "output" && answer.node_id === question.node_id;
    case "log?":
      return answer.type === "log" && answer.run === question.run && answer.after === question.after;
    case "earlier?":
      return answer.type === "earlier" && answer.run === question.run;
    default:
      return assertNever(question);
  }
}

function unpacked(bytes: DataView): Promise<string> {
  const packed = new Blob([bytes as DataView<ArrayBuffer>]).stream();
  return new Response(packed.pipeThrough(new DecompressionStream("gzip"))).text();
}
