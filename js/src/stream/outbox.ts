// Commands on their way, until the server has answered: a person's decision outlives the connection that it was made on.

import type { Command, CommandAck } from "../protocol/messages";
import type { DagState } from "../state/types";

/** A command on its way: `queued` until the connection is in step, `sent` until the server's answer. */
export interface Pending {
  command: Command;
  state: "queued" | "sent";
  /** When it was asked for, Unix ms. */
  since: number;
}

interface Entry {
  pending: Pending;
  answer: Promise<CommandAck>;
  settle: (ack: CommandAck) => void;
}

export class Outbox {
  readonly #entries = new Map<string, Entry>();
  /** Commands that were accepted, and are not on the server's disk yet: a server that ends would forget them. */
  readonly unsafe = new Map<string, Command>();

  get pending(): readonly Pending[] {
    return [...this.#entries.values()].map((entry) => entry.pending);
  }

  /** The answer to a command that is here: one with the same id is the same command. */
  answer(id: string): Promise<CommandAck> | undefined {
    return this.#entries.get(id)?.answer;
  }

  /** Keep a command until it is answered. */
  add(command: Command): Promise<CommandAck> {
    let settle: Entry["settle"] = () => {};
    const answer = new Promise<CommandAck>((resolve) => {
      settle = resolve;
    });
    this.#entries.set(command.id, { pending: { command, state: "queued", since: Date.now() }, answer, settle });
    return answer;
  }

  sent(id: string): void {
    const entry = this.#entries.get(id);
    if (entry) entry.pending = { ...entry.pending, state: "sent" };
  }

  settle(ack: CommandAck): void {
    const entry = this.#entries.get(ack.id);
    this.#entries.delete(ack.id);
    if (ack.durable !== false) this.unsafe.delete(ack.id);
    else if (entry) this.unsafe.set(ack.id, entry.pending.command);
    entry?.settle(ack);
  }
}

/** A refusal that needed no server. */
export function refusal(command: Command, code: string, message: string): CommandAck {
  return { type: "command_ack", id: command.id, ok: false, code, message };
}

/** The refusal of a command that is larger than the server takes. */
export function tooLarge(command: Command, limit: number): CommandAck | undefined {
  const bytes = new TextEncoder().encode(JSON.stringify(command)).length;
  if (bytes <= limit) return undefined;
  const text = `${bytes.toLocaleString("en")} bytes, the server accepts at most ${limit.toLocaleString("en")}`;
  return refusal(command, "too_large", `too large to send: ${text}`);
}

/** A command names the run, and the gate, that was there when it was given: it can't hit one that came later. */
export function exact(command: Command, { epoch, gates }: DagState): Command {
  const run_id = command.run_id ?? epoch;
  if (command.type !== "human_decision" || command.gate_id != null || run_id !== epoch) return { ...command, run_id };
  const open = [...gates.values()].filter((gate) => gate.node_id === command.node_id);
  return { ...command, run_id, gate_id: open.length === 1 ? open[0]?.gate_id : undefined };
}

/** Why a command that had to wait is not sent any more. Of the gates of another run than this the server judges. */
export function late({ command, state }: Pending, dag: DagState, plain: boolean): CommandAck | undefined {
  const queued = state === "queued";
  if (plain && command.run_id != null) {
    const text = "it was meant for another server";
    return refusal(command, queued ? "unknown_run" : "unconfirmed", text);
  }
  if (!queued || command.type !== "human_decision" || (command.run_id ?? dag.epoch) !== dag.epoch) return undefined;
  const about = (other: { node_id: string; gate_id: string }) =>
    other.node_id === command.node_id && (command.gate_id == null || other.gate_id === command.gate_id);
  if ([...dag.gates.values()].some(about)) return undefined;
  const made = dag.decisions.findLast(about);
  return made
    ? refusal(command, "already_decided", `${made.by} has already decided: ${made.decision}`)
    : refusal(command, "no_such_gate", "this gate is closed");
}
