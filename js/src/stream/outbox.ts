// Commands on their way, until the server has answered: a person's decision outlives the connection that it was made on.

import type { Command, CommandAck } from "../protocol/messages";

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

  get pending(): readonly Pending[] {
    return [...this.#entries.values()].map((entry) => entry.pending);
  }

  /** Keep a command until it is answered; one that is already here is the same command. */
  add(command: Command): Promise<CommandAck> {
    const known = this.#entries.get(command.id);
    if (known) return known.answer;
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
    entry?.settle(ack);
  }
}

/** A refusal that needed no server. */
export function refusal(command: Command, code: string, message: string): CommandAck {
  return { type: "command_ack", id: command.id, ok: false, code, message };
}
