// What was typed and not yet sent, kept over a reload of the page. A page may be denied its storage: then it is not.

const PREFIX = "dagwidget:draft:";

export class Draft {
  readonly #key: string;

  constructor(dagId: string, epoch: string | undefined, gateId: string) {
    this.#key = PREFIX + JSON.stringify([dagId, epoch ?? "", gateId]);
  }

  load(): Record<string, unknown> | undefined {
    try {
      const text = localStorage.getItem(this.#key);
      return text === null ? undefined : (JSON.parse(text) as Record<string, unknown>);
    } catch {
      return undefined;
    }
  }

  save(what: Record<string, unknown>): void {
    try {
      localStorage.setItem(this.#key, JSON.stringify(what));
    } catch {
      // Full, or denied.
    }
  }

  forget(): void {
    try {
      localStorage.removeItem(this.#key);
    } catch {
      // It was not kept either.
    }
  }
}
