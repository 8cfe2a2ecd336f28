// Whether the engine behind the run is there, and what that means to someone who looks at the run.

import type { Engine } from "../../protocol/messages";
import type { RunStatus } from "../../state/types";
import { over } from "./status";

export interface EngineWords {
  /** Follows the moment since when it is so, where that is known. */
  text: string;
  detail: string;
  /** Why nobody can be asked for anything; undefined where it may still be done. */
  reason?: string;
}

/** Whether nobody is there who runs the run, or who reports it: nothing that is seen is newer than their last word. */
export function isAway(status: RunStatus, engine: Engine | undefined): boolean {
  if (over(status)) return false;
  return engine ? engine.state === "gone" || engine.state === "unobserved" : status === "lost";
}

/** Whether a person may end the run in the engine's place. */
export function canGiveUp(status: RunStatus, engine: Engine | undefined): boolean {
  return !over(status) && (engine?.state === "gone" || (status === "lost" && isAway(status, engine)));
}

/** The engine's standing in words; undefined where there is nothing to say of it. `since`: a moment, such as 12:03. */
export function engineWords(
  status: RunStatus,
  engine: Engine | undefined,
  since: string | undefined,
): EngineWords | undefined {
  if (over(status)) return undefined;
  const at = since === undefined ? "" : ` since ${since}`;
  if (engine?.state === "silent") {
    return {
      text: `engine silent${at}`,
      detail: "The engine is connected, but does not answer. It may be busy.",
    };
  }
  if (!isAway(status, engine)) return undefined;
  if (engine?.state === "unobserved") {
    return {
      text: `not observed${at}`,
      detail:
        "Whatever reports this run has gone. The run itself may go on: what you see is the last that was reported.",
      reason: `Nobody observes this run${at}.`,
    };
  }
  return {
    text: `engine gone${at}`,
    detail:
      "No engine is connected to this run. What you see is the last that it reported; it goes on if the engine comes back.",
    reason: `The engine is gone${at}.`,
  };
}
